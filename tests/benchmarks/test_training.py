import copy

import numpy as np
import pytest
import torch

from benchmarks.training import BATCH_USERS, DIM, ITEMS, SCALE, main, make_learner, make_log, our_side, plain_side
from benchmarks.training_sides.graphs import GraphedSteps
from benchmarks.training_sides.loop import FRAME_SIZE, make_batch
from recommender.rl.batches import FrameTensors
from recommender.rl.frames import make_frames
from recommender.rl.state import centre_ratings


def test_both_sides_learn_from_the_same_frames():
    log, vectors = make_log(3), torch.randn(ITEMS, DIM)
    embeddings = {row: vectors[row] for row in range(ITEMS)}
    histories = [
        {
            "items": log.rows[log.users == user],
            "ratings": centre_ratings(log.ratings[log.users == user] / 10_000, SCALE).astype(np.float32),
        }
        for user in range(3)
    ]
    plain = make_batch(histories, embeddings)
    frames = FrameTensors(make_frames(log, FRAME_SIZE, SCALE))
    ours = frames.batch(torch.arange(len(frames)), vectors)
    for name in ("state", "action", "next_state"):
        torch.testing.assert_close(getattr(ours, name), plain[name])
    torch.testing.assert_close(ours.reward[:, None], plain["reward"])
    torch.testing.assert_close(ours.done[:, None], plain["done"])


def test_both_sides_take_steps():
    log, vectors = make_log(BATCH_USERS), torch.randn(ITEMS, DIM)
    for side in (plain_side(log, vectors, 1), our_side("ours", log, vectors, 1)):
        side.run()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_named(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["training", "--device", "cuda"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "torch sees no GPU here, got --device cuda" in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_replayed_steps_learn_what_eager_ones_learn():
    log, vectors = make_log(5), torch.randn(ITEMS, DIM).cuda()
    tensors = FrameTensors(make_frames(log, FRAME_SIZE, SCALE)).to("cuda")
    replayed, eager = (make_learner(vectors, dropout=0.0, event_dropout=0.0, policy_step=2) for _ in range(2))
    graphed = GraphedSteps(replayed, tensors, 64)
    for name, part in eager.parts.items():
        part.load_state_dict(copy.deepcopy(replayed.parts[name].state_dict()))
    for step in range(1, 7):
        places = torch.arange(64) + 3 * step
        graphed.take(places, step)
        eager.update(tensors.batch(places.cuda(), vectors), step)
    for ours, theirs in ((replayed.actor, eager.actor), (replayed.critic_target, eager.critic_target)):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
