import numpy as np
import pytest
import torch

from recommender.embeddings.sequence import _export, _Net, _pad, decayed_counts, train_sequence
from recommender.policies.sequence import state_of
from recommender.profile import Profile
from recommender.ranking.log import RatingLog, walk
from recommender.sequence.training import SequenceSettings
from schemas.events import Item

SMALL = SequenceSettings(dim=8, epochs=4, batch=200, half_lives=(1.0, 10.0), threads=1, learning_rate=1e-2)
IDS = [f"i{row}" for row in range(24)]


def chains(seed=0, users=60, length=12):
    """Users who go through the items in order, from a random start: what comes next is certain after one event."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 24, size=users)
    events = [(user, int((start + step) % 24)) for step in range(length) for user, start in enumerate(starts)]
    who, rows = (np.array(column, dtype=np.int64) for column in zip(*events, strict=True))
    return RatingLog(who, rows, np.full(len(rows), 40_000), tuple(map(str, range(users))), 24)


@pytest.fixture(scope="module")
def trained():
    return train_sequence(chains(), IDS, SequenceSettings(**{**as_dict(SMALL), "epochs": 30, "input_dropout": 0.0}))


def as_dict(settings):
    return {name: getattr(settings, name) for name in SequenceSettings.__dataclass_fields__}


def profile_of(past):
    return Profile("u", past.t, np.zeros(0), past.rows, past.counts, past.last_t, past.sums)


def test_the_next_item_of_a_chain_is_learned(trained):
    model = trained.model.align([Item(item_id=item_id) for item_id in IDS])
    moments, targets = next(iter(walk(chains(seed=1), 120)))
    best = [
        int(
            np.argmax(
                np.where(np.isin(np.arange(24), past.rows), -np.inf, model.vectors @ state_of(profile_of(past), model))
            )
        )
        for past in moments.pasts
    ]
    assert np.mean(np.array(best) == targets.rows) > 0.9
    assert trained.losses[-1].validation < trained.baseline


def test_the_policy_gives_the_scores_that_training_saw():
    log = chains(users=40)
    net = _Net(log.size, SMALL)
    with torch.no_grad():
        for part in net.parts:
            part.stages.normal_()
            part.bias.normal_()
    model = _export(net, log, IDS, SMALL).align([Item(item_id=item_id) for item_id in IDS])
    shares = torch.randn(1, log.size)
    constant = model.model.popularity_weight * shares.numpy()[0]
    for moments, targets in walk(log, 400):
        for past, event in zip(moments.pasts, targets.events.tolist(), strict=True):
            own = _pad([(np.append(past.rows, log.rows[event]), np.arange(past.t + 1))], log.size)
            chosen = (torch.arange(past.t + 1) == past.t)[None, :]
            with torch.no_grad():
                expected = net.logits(own.rows, chosen, shares)[0].numpy()
            scores = model.bias + model.vectors @ state_of(profile_of(past), model) + constant
            np.testing.assert_allclose(scores - scores.mean(), expected - expected.mean(), atol=1e-4)


def test_the_same_log_and_seed_give_the_same_model():
    first, again = (train_sequence(chains(), IDS, SMALL).model for _ in range(2))
    for name in ("inputs", "outputs", "bias", "rates"):
        assert (getattr(first, name) == getattr(again, name)).all()


def test_training_stops_when_validation_gets_worse_and_keeps_the_best_number_of_epochs():
    settings = SequenceSettings(**{**as_dict(SMALL), "epochs": 50, "patience": 1, "learning_rate": 0.5})
    trained = train_sequence(chains(), IDS, settings)
    validation = [loss.validation for loss in trained.losses]
    assert trained.epochs == 1 + int(np.argmin(validation))
    assert len(validation) <= trained.epochs + 1


def test_outputs_and_biases_are_centred_so_that_a_new_item_is_an_average_one(trained):
    np.testing.assert_allclose(trained.model.outputs.mean(axis=0), 0.0, atol=1e-6)
    assert trained.model.bias.mean() == pytest.approx(0.0, abs=1e-6)


def test_popularity_halves_with_its_half_life():
    log = chains(users=1, length=3)
    counts = decayed_counts(log, 1.0)
    assert counts[log.rows].tolist() == [0.25, 0.5, 1.0]


def test_items_without_an_event_are_not_in_the_model():
    log = chains(users=1, length=5)
    model = train_sequence(log, IDS, SequenceSettings(**{**as_dict(SMALL), "validation": 0.0})).model
    assert set(model.item_ids) == {IDS[row] for row in log.rows}


def test_one_event_is_too_few():
    with pytest.raises(ValueError, match="at least 2 events, got 1"):
        train_sequence(chains().before(1), IDS, SMALL)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"parts": 3}, "dim must be a multiple of parts, 3, got 256"),
        ({"half_lives": ()}, "half_lives must be positive"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\)"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        SequenceSettings(**changed)
