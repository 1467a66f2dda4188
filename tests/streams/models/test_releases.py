import json
import pickle
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.embeddings.model import EmbeddingModel
from recommender.policies import read_policy_model
from schemas.codec import decode_release, encode
from schemas.errors import ModelError
from schemas.events import Item
from streams.models.files import read_file, write_file
from streams.models.releases import embedding_id, load_policy_release, load_release, manifest_uri, save_release
from tests.policy_models import linear_model

CREATED_MS = 1_767_323_045_678  # 2026-01-02 03:04:05.678 UTC


def drawn_model(dim=4, seed=1, n=5):
    rng = np.random.default_rng(seed)
    features = FeatureEncoder(genres=("Comedy", "Drama"), years=(1990, 1994))
    layer = Layer(rng.normal(size=(dim, 4)).astype(np.float32), rng.normal(size=dim).astype(np.float32))
    ids = tuple(f"item {row}" for row in range(n))
    return EmbeddingModel("pca", ids, rng.normal(size=(n, dim)), features, (layer,))


@pytest.fixture(params=["path", "file", "memory"])
def directory(request, tmp_path):
    return {
        "path": str(tmp_path / "a b#%20"),
        "file": f"file://{tmp_path}",
        "memory": f"memory://{uuid4().hex}",
    }[request.param]


@pytest.fixture
def release(tmp_path):
    return save_release(drawn_model(), str(tmp_path), "items", "1", {"loss": 0.5}, created_ms=CREATED_MS)


def path_of(release):
    return Path(release.uri.removeprefix("file://"))


def test_a_release_comes_back_bit_for_bit_from_any_kind_of_url(directory):
    model = drawn_model()
    loaded = load_release(save_release(model, directory, "items"))
    assert loaded.item_ids == model.item_ids
    assert (loaded.vectors == model.vectors).all()
    new = [Item(item_id="new", genres=("Drama",), year=1992)]
    assert (loaded.vectors_for(new)[0] == model.vectors_for(new)[0]).all()


def test_a_policys_model_comes_back_bit_for_bit_from_any_kind_of_url(directory):
    model = linear_model(("a", "b"), np.array([[0.1, 0.2], [0.3, 0.4]]))
    release = save_release(model, directory, "linear", kind="policy")
    loaded = load_policy_release(release, read_policy_model)
    assert release.kind == "policy"
    items = [Item(item_id="b"), Item(item_id="new", title="Red", genres=("Drama",)), Item(item_id="plain")]
    assert (loaded.align(items).vectors == model.align(items).vectors).all()
    assert loaded.prior.mean.tolist() == model.prior.mean.tolist()
    assert loaded.prior.covariance.tolist() == model.prior.covariance.tolist()
    assert loaded.prior.noise == model.prior.noise


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("linear", "embedding", "must be of kind 'policy'"),
        ("greedy", "policy", "must be named one of .*linear.*, got 'greedy'"),
    ],
)
def test_a_release_that_is_no_policys_model_is_refused_as_one(tmp_path, name, kind, why):
    release = save_release(linear_model(("a",), np.ones((1, 2))), str(tmp_path), name, kind=kind)
    with pytest.raises(ModelError, match=why):
        load_policy_release(release, read_policy_model)


def test_item_vectors_under_a_policys_name_are_refused(tmp_path):
    release = save_release(drawn_model(), str(tmp_path), "linear", kind="policy")
    with pytest.raises(ModelError, match="no policy model: its metadata has no readable streamrec_policy"):
        load_policy_release(release, read_policy_model)


def test_a_release_survives_the_bus(release):
    assert decode_release(encode(release)) == release


def test_the_release_says_where_what_and_when(release, tmp_path):
    assert release.uri == f"file://{tmp_path}/items/1/model.safetensors"
    assert release.sha256 == sha256(path_of(release).read_bytes()).hexdigest()
    assert (release.kind, release.label) == ("embedding", "items@1")
    assert (release.metrics, release.ts_ms) == ({"loss": 0.5}, CREATED_MS)
    assert sorted(path.name for path in path_of(release).parent.iterdir()) == ["manifest.json", "model.safetensors"]


def test_the_manifest_tells_what_the_file_holds(release):
    manifest = json.loads(read_file(manifest_uri(release), 10_000))
    assert manifest.pop("code_version")
    assert manifest == {
        "manifest": 1,
        "name": "items",
        "version": "1",
        "kind": "embedding",
        "encoder": "pca",
        "file": "model.safetensors",
        "sha256": release.sha256,
        "bytes": path_of(release).stat().st_size,
        "items": 5,
        "dim": 4,
        "features": 4,
        "feature_state": {"genres": ["Comedy", "Drama"], "years": [1990, 1994]},
        "metrics": {"loss": 0.5},
        "created_ms": CREATED_MS,
    }


def test_a_version_is_by_default_the_time_and_the_sum(tmp_path):
    release = save_release(drawn_model(), str(tmp_path), "items", created_ms=CREATED_MS)
    assert release.version == f"20260102T030405Z-{release.sha256[:8]}"


def test_a_relative_directory_is_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    release = save_release(drawn_model(), "models", "items")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_release(release).dim == 4


@given(dim=st.integers(1, 64), n=st.integers(0, 20), seed=st.integers(0, 2**32))
def test_the_same_model_has_the_same_sum_and_comes_back_at_any_size(dim, n, seed):
    directory = f"memory://{uuid4().hex}"
    first = save_release(drawn_model(dim, seed, n), directory, "items", "1")
    again = save_release(drawn_model(dim, seed, n), directory, "items", "1")
    assert first.sha256 == again.sha256
    loaded = load_release(first)
    assert loaded.vectors.shape == (n, dim)
    assert (loaded.vectors == drawn_model(dim, seed, n).vectors).all()


def test_a_version_once_released_is_never_changed(release, tmp_path):
    with pytest.raises(ModelError) as caught:
        save_release(drawn_model(dim=5), str(tmp_path), "items", "1")
    assert release.sha256 in str(caught.value)
    assert "choose another version" in str(caught.value)
    assert load_release(release).dim == 4


def test_a_corrupted_file_is_refused_with_both_sums_named(release):
    data = bytearray(path_of(release).read_bytes())
    data[-1] ^= 1
    path_of(release).write_bytes(data)
    with pytest.raises(ModelError) as caught:
        load_release(release)
    assert release.sha256 in str(caught.value)
    assert sha256(data).hexdigest() in str(caught.value)
    assert f"{len(data)} bytes read" in str(caught.value)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused(release, kept):
    data = path_of(release).read_bytes()[:kept]
    path_of(release).write_bytes(data)
    with pytest.raises(ModelError, match=f"the release says {release.sha256} .{len(data)} bytes read"):
        load_release(release)


def released_as(release, data):
    """Return the release of a file of other bytes, with the right sum of them."""
    path_of(release).write_bytes(data)
    return msgspec.structs.replace(release, sha256=sha256(data).hexdigest())


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_file_that_was_truncated_before_its_sum_was_taken_is_refused(release, kept):
    cut = released_as(release, path_of(release).read_bytes()[:kept])
    with pytest.raises(ModelError, match="is no safetensors file"):
        load_release(cut)


def test_a_pickle_is_never_read(release):
    with pytest.raises(ModelError, match="is no safetensors file"):
        load_release(released_as(release, pickle.dumps({"vectors": [1.0]})))


def test_a_safetensors_file_of_something_else_is_refused(release):
    other = safetensors.numpy.save({"weights": np.zeros(3, np.float32)})
    with pytest.raises(ModelError, match=r"items@1 at .* cannot be used: no embedding model"):
        load_release(released_as(release, other))


def test_a_dimension_that_does_not_fit_is_refused_with_both(release):
    tensors, metadata = drawn_model().to_tensors()
    tensors["vectors"] = np.zeros((5, 7), np.float32)
    with pytest.raises(ModelError, match=r"must have shape \(5, 4\).* got \(5, 7\)"):
        load_release(released_as(release, safetensors.numpy.save(tensors, metadata)))


def test_a_type_that_numpy_lacks_is_refused(release):
    header = b'{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    data = len(header).to_bytes(8, "little") + header + b"\x00\x00"
    with pytest.raises(ModelError, match="numbers of type BF16, which numpy has not"):
        load_release(released_as(release, data))


def test_a_missing_file_is_named(release):
    path_of(release).unlink()
    with pytest.raises(ModelError, match=f"there is no file {release.uri}"):
        load_release(release)


def test_a_file_above_the_limit_is_refused_before_it_is_hashed(release):
    with pytest.raises(ModelError, match="at most 100 bytes, found more"):
        load_release(release, max_bytes=100)


def test_a_release_of_a_policy_gives_no_item_vectors(release):
    with pytest.raises(ModelError, match="must be of kind 'embedding' to give item vectors, got 'policy'"):
        load_release(msgspec.structs.replace(release, kind="policy"))


def test_the_embedding_id_is_the_first_eight_bytes_of_the_sum(release):
    named = msgspec.structs.replace(release, sha256="0123456789ABCDEF" + "0" * 48)
    assert embedding_id(named) == bytes([0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF])


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "g" * 64])
def test_a_sum_that_is_none_is_refused(release, digest):
    wrong = msgspec.structs.replace(release, sha256=digest)
    with pytest.raises(ModelError, match="64 hexadecimal digits, got"):
        embedding_id(wrong)
    with pytest.raises(ModelError, match="64 hexadecimal digits, got"):
        load_release(wrong)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "a" * 65, "a\n"])
def test_names_that_could_leave_the_directory_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name must be 1 to 64 letters"):
        save_release(drawn_model(), str(tmp_path), name)
    if name:
        with pytest.raises(ValueError, match="version must be 1 to 64 letters"):
            save_release(drawn_model(), str(tmp_path), "items", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metrics_must_be_finite(tmp_path, value):
    with pytest.raises(ValueError, match="metric loss must be finite"):
        save_release(drawn_model(), str(tmp_path), "items", metrics={"loss": value})


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    write_file(str(tmp_path / "file"), b"x")
    with pytest.raises(ModelError, match=r"cannot be read|cannot be written"):
        save_release(drawn_model(), str(tmp_path / "file"), "items")
