"""Which releases are live: the newest that can be used, of each name that is followed."""

import msgspec
import numpy as np
import pytest
from prometheus_client import REGISTRY

from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.embeddings.model import EmbeddingModel
from recommender.policies import read_policy_model
from schemas.codec import encode
from schemas.errors import EventError
from schemas.events import ModelRelease
from streams.items import RecordPlace
from streams.models.live import LiveReleases
from streams.models.releases import save_release
from tests.policy_models import linear_model


def model_of(*item_ids, seed=1):
    rng = np.random.default_rng(seed)
    layer = Layer(rng.normal(size=(2, 3)).astype(np.float32), np.zeros(2, np.float32))
    features = FeatureEncoder(genres=("Comedy", "Drama"), years=(1990,))
    return EmbeddingModel("pca", item_ids, rng.normal(size=(len(item_ids), 2)), features, (layer,))


@pytest.fixture
def release(tmp_path):
    return save_release(model_of("a"), str(tmp_path), "items", "1")


@pytest.fixture
def newer(tmp_path):
    return save_release(model_of("a", seed=2), str(tmp_path), "items", "2")


@pytest.fixture
def policy_release(tmp_path):
    return save_release(linear_model(("a",), np.ones((1, 2))), str(tmp_path), "linear", "1", kind="policy")


@pytest.fixture
def releases():
    return LiveReleases("items", ("linear",), read_policy_model)


def test_the_newest_release_of_the_name_becomes_live(releases, release, newer):
    assert releases.apply(RecordPlace(0, 0, 5), b"items", encode(release))
    assert releases.apply(RecordPlace(0, 1, 6), b"items", encode(newer))
    assert releases.is_behind
    assert releases.load()
    assert releases.embedding.release == newer
    assert not releases.is_behind
    assert not releases.load()


def test_releases_of_other_names_are_passed_over(release):
    others = LiveReleases("others")
    assert not others.apply(RecordPlace(0, 0, 0), b"items", encode(release))
    assert not others.load()


def test_a_bad_file_is_refused_and_the_live_release_stays(releases, release):
    releases.apply(RecordPlace(0, 0, 0), b"items", encode(release))
    releases.load()
    bad = ModelRelease(name="items", version="2", kind="embedding", uri=release.uri, sha256="0" * 64)
    releases.apply(RecordPlace(0, 1, 0), b"items", encode(bad))
    before = REGISTRY.get_sample_value("streamrec_releases_refused_total")
    assert not releases.load()
    assert not releases.load()
    assert releases.embedding.release == release
    assert releases.is_behind
    assert REGISTRY.get_sample_value("streamrec_releases_refused_total") == before + 1


def test_a_null_value_leaves_the_name_without_a_release(releases, release):
    releases.apply(RecordPlace(0, 0, 0), b"items", encode(release))
    releases.load()
    assert releases.apply(RecordPlace(0, 1, 0), b"items", None)
    assert releases.load()
    assert releases.embedding.model is None


def test_between_partitions_the_newer_timestamp_wins(releases, release, newer):
    releases.apply(RecordPlace(1, 0, 9), b"items", encode(newer))
    assert not releases.apply(RecordPlace(0, 5, 8), b"items", encode(release))
    releases.load()
    assert releases.embedding.release == newer


def test_an_unreadable_release_is_refused_with_its_reason(releases):
    with pytest.raises(EventError, match="missing_field"):
        releases.apply(RecordPlace(0, 0, 0), b"items", b'{"name": "items"}')


def test_a_policys_model_is_live_beside_the_item_vectors(releases, release, policy_release):
    releases.apply(RecordPlace(0, 0, 0), b"items", encode(release))
    releases.apply(RecordPlace(0, 0, 0), b"linear", encode(policy_release))
    assert releases.load()
    assert releases.embedding.release == release
    assert releases.models["linear"].label == "linear@1"
    assert releases.models["linear"].model.dim == 2


def test_a_bad_model_of_a_policy_is_refused_and_all_else_stays(releases, release, policy_release):
    releases.apply(RecordPlace(0, 0, 0), b"linear", encode(policy_release))
    releases.load()
    bad = msgspec.structs.replace(policy_release, version="2", sha256="0" * 64)
    releases.apply(RecordPlace(0, 1, 0), b"linear", encode(bad))
    releases.apply(RecordPlace(0, 0, 0), b"items", encode(release))
    assert releases.load()
    assert (releases.embedding.release, releases.models["linear"].label) == (release, "linear@1")
    assert releases.is_behind


def test_item_vectors_are_refused_as_a_policys_model(releases, tmp_path):
    wrong = save_release(model_of("a"), str(tmp_path), "linear", "1")
    releases.apply(RecordPlace(0, 0, 0), b"linear", encode(wrong))
    assert not releases.load()
    assert releases.models == {}


def test_a_process_that_follows_no_policies_passes_their_releases_over(policy_release):
    worker = LiveReleases("items")
    assert not worker.apply(RecordPlace(0, 0, 0), b"linear", encode(policy_release))
