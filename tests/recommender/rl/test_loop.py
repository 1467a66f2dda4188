import numpy as np
import pytest
import torch

from recommender.ranking.log import RatingLog
from recommender.rl.loop import train_actor
from recommender.rl.state import make_states
from recommender.rl.training import ActorSettings
from schemas.errors import ModelError

SMALL = {
    "frame_size": 2,
    "hidden": 16,
    "clone_steps": 6,
    "clone_rows": 32,
    "steps": 6,
    "batch_users": 5,
    "batch_rows": 32,
    "penalised": 8,
    "validate_every": 3,
    "validation": 0.25,
    "threads": 1,
}
IDS = [f"i{row}" for row in range(60)]
VECTORS = np.random.default_rng(3).normal(size=(60, 8))
SCALE = (0.5, 5.0)
NAMES = ("ddpg", "td3", "reinforce", "bcq", "qlearning", "sarsa")


def chains(users=40, length=12, seed=0):
    """Users who go through the items in order, from a random start: what comes next is certain after one event."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 60, size=users)
    events = [(user, int((start + step) % 60)) for step in range(length) for user, start in enumerate(starts)]
    who, rows = (np.array(column, dtype=np.int64) for column in zip(*events, strict=True))
    return RatingLog(who, rows, rng.integers(1, 11, len(rows)) * 5_000, tuple(map(str, range(users))), 60)


def train(name, **changed):
    passed = {key: changed.pop(key) for key in ("on_step", "resume", "on_checkpoint") if key in changed}
    return train_actor(name, chains(), IDS, VECTORS, SCALE, ActorSettings(**{**SMALL, **changed}), **passed)


def bytes_of(model):
    return {key: value.tobytes() for key, value in model.to_tensors()[0].items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_training_that_goes_on_takes_the_same_steps_to_the_last_bit(name):
    checkpoints = []
    whole = train(name, on_checkpoint=checkpoints.append)
    assert [checkpoint["step"] for checkpoint in checkpoints] == [3, 6, 9, 12]
    for checkpoint in checkpoints[:3]:
        resumed = train(name, resume=checkpoint)
        assert resumed.trace == whole.trace
        assert bytes_of(resumed.model) == bytes_of(whole.model)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_that_of_the_best_step_of_the_algorithm(name):
    trained = train(name)
    looks = {step.step: step.ndcg for step in trained.trace if step.phase == name and step.ndcg is not None}
    assert list(looks) == [9, 12]
    assert trained.ndcg == max(looks.values()) == looks[trained.best]
    assert trained.cloned_ndcg == trained.trace[5].ndcg
    assert trained.model.type == name
    assert len(trained.model.critics) == {"ddpg": 1, "td3": 2, "bcq": 2}.get(name, 0)
    assert (trained.model.margin is None) == (name != "bcq")


def test_what_comes_next_in_a_chain_is_learned():
    trained = train("reinforce", clone_steps=300, steps=100, validate_every=100, clone_rate=3e-3, event_dropout=0.0)
    model, log = trained.model, chains(seed=1)
    rows, ratings = log.rows[log.users == 0], log.ratings[log.users == 0] / 10_000
    places = {item_id: place for place, item_id in enumerate(model.item_ids)}
    hits = 0
    for end in range(2, len(rows)):
        frame = [places[IDS[row]] for row in rows[end - 2 : end]]
        state = make_states(model.vectors[frame], ratings[end - 2 : end], SCALE)
        scores = model.vectors @ model.actor_network.run(state[np.newaxis])[0]
        hits += places[IDS[rows[end]]] in np.argsort(-scores)[:3]
    assert hits >= 8  # of 10
    assert trained.ndcg > 0.5


def test_training_ends_when_looks_get_no_better():
    trained = train("td3", steps=600, patience=2, actor_rate=0.5, critic_rate=0.5)
    assert trained.trace[-1].step == trained.best + 2 * 3


def test_values_of_items_are_learned_from_a_ring_of_transitions():
    # 30 users learn, of 10 frames each: a ring of 60 has what the newest steps brought, one of 10,000 all that came
    small, large = (train("qlearning", replay=replay) for replay in (60, 10_000))
    assert small.trace != large.trace
    assert train("td3", replay=60).trace == train("td3", replay=10_000).trace


def test_a_training_that_goes_on_has_the_same_ring():
    checkpoints = []
    whole = train("sarsa", replay=70, on_checkpoint=checkpoints.append)
    assert train("sarsa", replay=70, resume=checkpoints[2]).trace == whole.trace
    checkpoints[2]["parts"]["ring"]["places"].zero_()
    assert train("sarsa", replay=70, resume=checkpoints[2]).trace != whole.trace


def test_a_padded_training_learns_from_every_event_but_each_users_first():
    padded, plain = train("td3", padded=True), train("td3")
    assert sum(padded.frames) == 40 * 11
    assert sum(plain.frames) == 40 * 10
    assert (padded.model.least_events, plain.model.least_events) == (1, 2)
    assert bytes_of(padded.model) != bytes_of(plain.model)


@pytest.mark.parametrize("name", NAMES)
def test_a_recurrent_actor_is_learned_and_gone_on_with_to_the_last_bit(name):
    checkpoints = []
    whole = train(name, encoder="lstm", padded=True, on_checkpoint=checkpoints.append)
    assert whole.model.encoder is not None
    resumed = train(name, encoder="lstm", padded=True, resume=checkpoints[2])
    assert resumed.trace == whole.trace
    assert bytes_of(resumed.model) == bytes_of(whole.model)


def test_another_seed_gives_another_model():
    assert bytes_of(train("ddpg").model) != bytes_of(train("ddpg", seed=8).model)


def test_training_leaves_the_global_random_state_and_threads_as_they_were():
    torch.manual_seed(5)
    expected, threads = torch.randn(2), torch.get_num_threads()
    torch.manual_seed(5)
    train("ddpg")
    assert torch.equal(torch.randn(2), expected)
    assert torch.get_num_threads() == threads


def test_a_checkpoint_of_another_training_is_refused():
    checkpoints = []
    train("ddpg", on_checkpoint=checkpoints.append)
    with pytest.raises(ValueError, match="checkpoint is of another training"):
        train("td3", resume=checkpoints[2])
    with pytest.raises(ValueError, match="checkpoint is of another training"):
        train("td3", seed=8, resume=checkpoints[1])


@pytest.mark.parametrize("name", NAMES)
def test_what_one_policy_cloned_another_goes_on_from_to_the_last_bit(name):
    checkpoints = []
    train("reinforce" if name == "ddpg" else "ddpg", on_checkpoint=checkpoints.append)
    whole, resumed = train(name), train(name, resume=checkpoints[1])
    assert [step.phase for step in resumed.trace].count("clone") == checkpoints[1]["step"] == 6
    assert resumed.trace == whole.trace
    assert bytes_of(resumed.model) == bytes_of(whole.model)


def test_a_log_too_short_for_any_state_is_refused():
    with pytest.raises(ValueError, match="users with at least 13 events"):
        train("ddpg", frame_size=12)


def test_a_diverged_training_is_named():
    with pytest.raises(ModelError, match="training diverged: after step"):
        train("ddpg", clone_rate=1e30, clone_steps=60, validate_every=60)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"gamma": 1.0}, r"gamma must be in \[0, 1\), got 1.0"),
        ({"tau": 0.0}, r"tau must be in \(0, 1\], got 0.0"),
        ({"gradient_bound": -1.0}, "gradient_bound must be positive and finite, got -1.0"),
        ({"rerank": 49}, r"rerank must be 0 or in 50..500, got 49"),
        ({"validation": 0.0}, r"validation must be in \(0, 1\), got 0.0"),
        ({"noise": -0.1}, "noise must be at least 0 and finite, got -0.1"),
        ({"anchoring": -1.0}, "anchoring must be at least 0 and finite, got -1.0"),
        ({"allowed_ratio": 0.0}, r"allowed_ratio must be in \(0, 1\], got 0.0"),
        ({"soft_minimum": 1.1}, r"soft_minimum must be in \[0, 1\], got 1.1"),
        ({"encoder": "gru"}, "encoder must be one of flat, lstm, got 'gru'"),
        ({"replay": 0}, "replay must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        ActorSettings(**changed)
