import json

import numpy as np
import pytest

from recommender.diversity import DiversityLimits
from recommender.factors.training import FactorSettings
from recommender.policies import read_policy_model
from schemas.errors import DataError, ModelError
from schemas.events import Item, RatingEvent
from services.trainer.factors import gather_ratings, train_linear
from streams.models.files import read_file
from streams.models.releases import load_policy_release

ITEMS = [Item(item_id=f"i{row}", title=f"Title {row}", genres=(("Drama", "War")[row % 2],)) for row in range(40)]
SETTINGS = FactorSettings(dim=4, parts=2, rounds=3)


def some_ratings(users=30):
    rng = np.random.default_rng(5)
    return [
        RatingEvent(user_id=f"u{user}", item_id=f"i{row}", rating=float(rng.integers(1, 6)))
        for user in range(users)
        for row in rng.permutation(len(ITEMS))[:15].tolist()
    ]


def test_a_release_holds_the_model_and_the_manifest_says_what_it_is(tmp_path):
    trained = train_linear(ITEMS, some_ratings(), SETTINGS, model_dir=str(tmp_path), plot=tmp_path / "rounds.png")
    assert (trained.release.name, trained.release.kind) == ("linear", "policy")
    loaded = load_policy_release(trained.release, read_policy_model)
    assert loaded.align(ITEMS).vectors.tobytes() == trained.model.align(ITEMS).vectors.tobytes()
    manifest = json.loads(read_file(trained.manifest_uri, 100_000))
    assert (manifest["kind"], manifest["dim"], manifest["items"]) == ("policy", 4, 40)
    assert manifest["metrics"]["ratings"] == 450.0
    assert manifest["metrics"]["coverage"] == trained.diversity.coverage
    assert len(trained.rounds) == 6
    assert (tmp_path / "rounds.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_log_gives_the_same_bytes(tmp_path):
    one, other = (train_linear(ITEMS, some_ratings(), SETTINGS, model_dir=str(tmp_path / name)) for name in "ab")
    assert one.release.sha256 == other.release.sha256


def test_what_has_collapsed_is_not_released(tmp_path):
    limits = DiversityLimits(entropy=9.0)
    with pytest.raises(ModelError, match=r"has collapsed, so it is not released: entropy .* bits is below 9"):
        train_linear(ITEMS, some_ratings(), SETTINGS, limits=limits, model_dir=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_last_rating_of_an_item_counts_and_unknown_items_do_not():
    events = [
        RatingEvent(user_id="u", item_id="i1", rating=1.0),
        RatingEvent(user_id="v", item_id="nobody", rating=2.0),
        RatingEvent(user_id="u", item_id="i1", rating=5.0),
        RatingEvent(user_id="w", item_id="i0", rating=3.0),
    ]
    found = gather_ratings(ITEMS, events)
    assert (found.users.tolist(), found.rows.tolist(), found.values.tolist()) == ([0, 1], [1, 0], [5.0, 3.0])


def test_a_log_without_ratings_of_the_items_is_an_error(tmp_path):
    with pytest.raises(DataError, match="training needs ratings of the 40 items of the catalogue, got none"):
        train_linear(ITEMS, [], SETTINGS, model_dir=str(tmp_path))


def test_items_without_content_are_an_error(tmp_path):
    bare = [Item(item_id=item.item_id) for item in ITEMS]
    with pytest.raises(DataError, match="at least one known genre or year"):
        train_linear(bare, some_ratings(), SETTINGS, model_dir=str(tmp_path))
