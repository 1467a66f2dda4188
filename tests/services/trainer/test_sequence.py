import io
import sys

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

from recommender.diversity import DiversityLimits
from recommender.policies import read_policy_model
from recommender.ranking.log import RatingLog
from recommender.sequence.training import SequenceSettings
from schemas.errors import ConfigurationError, DataError, ModelError
from schemas.events import Item
from services.trainer.sequence import lists_of, train_sequence_release
from streams.models.releases import load_policy_release

SETTINGS = SequenceSettings(dim=4, epochs=2, batch=200, half_lives=(1.0, 10.0), threads=1)
ITEMS = [Item(item_id=f"i{row}") for row in range(40)]


def random_log(seed=0, users=30, each=20):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(40)[:each] for _ in range(users)])
    order = rng.permutation(users * each)
    who = np.repeat(np.arange(users), each)
    return RatingLog(who[order], rows[order], np.full(users * each, 40_000), tuple(map(str, range(users))), 40)


def test_the_release_is_of_the_policy_and_loads(tmp_path):
    result = train_sequence_release(random_log(), ITEMS, SETTINGS, str(tmp_path))
    assert (result.release.name, result.release.kind) == ("sequence", "policy")
    model = load_policy_release(result.release, read_policy_model)
    assert (model.outputs == result.trained.model.outputs).all()
    metrics = result.release.metrics
    assert metrics["events"] == 600.0
    assert metrics["epochs"] == result.trained.epochs
    assert {"validation_loss", "baseline_loss", "train_loss", "coverage", "entropy", "seconds"} <= set(metrics)


def test_a_collapsed_model_is_named_and_not_released(tmp_path):
    with pytest.raises(ModelError, match="the model of 'sequence' collapsed and is not released: entropy"):
        train_sequence_release(random_log(), ITEMS, SETTINGS, str(tmp_path), limits=DiversityLimits(entropy=9.0))
    assert not any(tmp_path.iterdir())


def test_lists_are_of_items_the_users_have_not_rated(tmp_path):
    log = random_log()
    result = train_sequence_release(log, ITEMS, SETTINGS, str(tmp_path))
    lists = lists_of(result.trained.model, log, ITEMS)
    newest_first = list(dict.fromkeys(log.users[::-1].tolist()))
    assert len(lists) == 30
    for user, shown in zip(newest_first, lists.tolist(), strict=True):
        assert not set(shown) & set(log.rows[log.users == user].tolist())


def test_progress_shows_epoch_and_losses(tmp_path):
    shown = io.StringIO()
    with Progress(console=Console(file=shown, width=200)) as progress:
        train_sequence_release(random_log(), ITEMS, SETTINGS, str(tmp_path), progress)
    assert "sequence: epoch 2/2  train" in shown.getvalue()


def test_losses_are_drawn(tmp_path):
    result = train_sequence_release(random_log(), ITEMS, SETTINGS, str(tmp_path), plot=tmp_path / "a" / "losses.png")
    assert result.plot.read_bytes().startswith(b"\x89PNG")


def test_too_few_ratings_are_refused(tmp_path):
    with pytest.raises(DataError, match="at least 2 ratings, got 1"):
        train_sequence_release(random_log().before(1), ITEMS, SETTINGS, str(tmp_path))


def test_without_torch_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "recommender.embeddings.sequence", None)
    with pytest.raises(ConfigurationError, match=r"install streamrec\[trainer\]"):
        train_sequence_release(random_log(), ITEMS, SETTINGS, str(tmp_path))
