import numpy as np
import torch

from benchmarks.training import BATCH_USERS, DIM, ITEMS, SCALE, make_log, our_side, plain_side
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
