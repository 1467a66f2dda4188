import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import structlog

from recommender.catalogue import NO_EMBEDDING, CatalogueEntry, build_catalogue
from recommender.catalogue_changes import change_catalogue
from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.embeddings.model import EmbeddingModel
from recommender.hashing import hash_id
from recommender.ledger.batch import EventBatch, StoredLedger, fold_batch
from recommender.ledger.layout import EVENT, unpack
from recommender.policies import read_policy_model
from schemas.codec import encode
from schemas.errors import ConfigurationError
from schemas.events import Item, ModelRelease
from streams.bus.clients import make_producer
from streams.catalogue import LiveCatalogue, embedded_items
from streams.models.releases import embedding_id, save_release
from tests.policy_models import linear_model
from tests.waiting import wait_until


def model_of(*item_ids, dim=2, seed=1):
    rng = np.random.default_rng(seed)
    layer = Layer(rng.normal(size=(dim, 3)).astype(np.float32), np.zeros(dim, np.float32))
    features = FeatureEncoder(genres=("Comedy", "Drama"), years=(1990,))
    return EmbeddingModel("pca", item_ids, rng.normal(size=(len(item_ids), dim)), features, (layer,))


def test_embedded_items_are_those_with_a_vector_by_ascending_hash():
    items = [Item(item_id=name) for name in "abcd"]
    vectors, has_vector = np.arange(8.0).reshape(4, 2), np.array([True, False, True, True])
    catalogue = build_catalogue(
        [CatalogueEntry(item, row) for row, item in enumerate(items)], lambda _: (vectors, has_vector), b"12345678"
    )
    embedded = embedded_items(catalogue)
    assert embedded.embedding_id == b"12345678"
    assert embedded.hashes.tolist() == sorted(hash_id(name) for name in "acd")
    for name, vector in (("a", [0.0, 1.0]), ("c", [4.0, 5.0]), ("d", [6.0, 7.0])):
        row = int(embedded.rows(np.array([hash_id(name)], np.uint64))[0])
        assert embedded.vectors[row].tolist() == vector


def test_without_a_release_ledgers_are_folded_with_no_dimension():
    embedded = embedded_items(build_catalogue([CatalogueEntry(Item(item_id="a"), 0)]))
    assert (embedded.dim, embedded.embedding_id) == (0, NO_EMBEDDING)
    events = EventBatch(
        np.zeros(2, np.int64), np.array([(hash_id("a"), 40000, 0), (7, 10000, 0)], EVENT), np.arange(2, dtype=np.uint64)
    )
    first = fold_batch(events, [None], np.ones(1, np.uint64), 1, 0, embedded).writes[0]
    ledger = unpack(first.head + first.tail)
    assert (ledger.t, ledger.unembedded, ledger.mean.shape, ledger.embedding_id) == (2, 2, (0,), NO_EMBEDDING)
    stored = StoredLedger(first.head + first.tail, is_whole=True)
    again = fold_batch(events, [stored], np.ones(1, np.uint64), 1, 0, embedded).writes[0]
    assert unpack(again.head + again.tail).t == 4


def test_the_catalogue_imports_no_torch():
    program = "import sys, streams.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.integration
class TestLiveCatalogue:
    @pytest.fixture
    def producer(self, topics):
        producer = make_producer(topics, linger_ms=0)
        yield producer
        producer.close()

    @pytest.fixture
    def open_catalogue(self, topics, admin):
        opened = []

        def open_it(prepare=lambda _: None, policies=()):
            catalogue = LiveCatalogue(topics, admin, prepare, policies, read_policy_model)
            opened.append(catalogue)
            catalogue.start()
            catalogue.wait_until_ready(30)
            return catalogue

        yield open_it
        for catalogue in opened:
            catalogue.stop()

    @pytest.fixture
    def say(self, topics, producer):
        def send(role, key, value):
            return producer.send(topics.topic(role), key=key.encode(), value=value).get(10)

        return SimpleNamespace(
            item=lambda item_id, **said: send("items", item_id, encode(Item(item_id=item_id, **said))),
            withdrawn=lambda item_id: send("items", item_id, None),
            release=lambda release: send("models", release.name, encode(release)),
            release_null=lambda name: send("models", name, None),
            bytes=lambda value: send("items", "key", value),
        )

    def test_it_is_empty_and_ready_on_empty_topics(self, open_catalogue):
        snapshot = open_catalogue().current
        assert (snapshot.catalogue.size, snapshot.catalogue.dim, snapshot.version) == (0, 0, 1)

    def test_it_holds_all_there_was_and_follows_changes(self, open_catalogue, say):
        for name in "abc":
            say.item(name, title=f"Title {name}")
        say.bytes(b"no item")
        catalogue = open_catalogue()
        assert set(catalogue.current.catalogue.item_ids) == {"a", "b", "c"}
        say.item("d")
        wait_until(lambda: "d" in catalogue.current.catalogue.item_ids, 5.0)
        say.withdrawn("a")
        items = wait_until(lambda: (now := catalogue.current.catalogue).listed.sum() == 3 and now, 5.0)
        assert not items.listed[items.row_of("a")]
        assert items.items[items.row_of("a")].title == "Title a"
        catalogue.check()

    def test_vectors_swap_with_the_release_and_a_bad_one_is_refused(self, open_catalogue, say, topics):
        for name in "ab":
            say.item(name)
        first = save_release(model_of("a", "b"), topics.model_dir, topics.embedding, "1")
        say.release(first)
        catalogue = open_catalogue()
        assert catalogue.current.catalogue.embedding_label == "items@1"
        assert catalogue.embedded.embedding_id == embedding_id(first)
        say.release(ModelRelease(name="items", version="2", kind="embedding", uri="/no/such/file", sha256="0" * 64))
        third = save_release(model_of("a", dim=3), topics.model_dir, topics.embedding, "3")
        say.release(third)
        snapshot = wait_until(lambda: (now := catalogue.current).catalogue.embedding_label == "items@3" and now, 5.0)
        assert snapshot.embedded.dim == snapshot.catalogue.dim == 3
        assert snapshot.embedded.hashes.tolist() == [hash_id("a")]
        assert snapshot.catalogue.has_vector[snapshot.catalogue.row_of("a")]
        assert not snapshot.catalogue.has_vector[snapshot.catalogue.row_of("b")]

    def test_a_policys_model_comes_and_goes_without_touching_the_vectors(self, open_catalogue, say, topics):
        for name in "ab":
            say.item(name)
        say.release(save_release(model_of("a", "b"), topics.model_dir, topics.embedding, "1"))
        catalogue = open_catalogue(policies=("linear",))
        before = catalogue.embedded
        model = linear_model(("a",), np.array([[1.0, 2.0]]))
        say.release(save_release(model, topics.model_dir, "linear", "1", kind="policy"))
        snapshot = wait_until(lambda: (now := catalogue.current).catalogue.models and now, 5.0)
        aligned = snapshot.catalogue.models["linear"]
        assert aligned.label == "linear@1"
        assert aligned.value.vectors[snapshot.catalogue.row_of("a")].tolist() == [1.0, 1.0, 2.0]
        assert snapshot.embedded.embedding_id == before.embedding_id
        assert snapshot.embedded.vectors.tolist() == before.vectors.tolist()
        say.release_null("linear")
        wait_until(lambda: not catalogue.current.catalogue.models, 5.0)
        assert catalogue.current.catalogue.embedding_label == "items@1"

    def test_a_catalogue_is_prepared_before_it_is_live(self, open_catalogue, say):
        opened, seen = [], []

        def prepare(made):
            seen.append((made.catalogue.item_ids, opened[0].current.catalogue.item_ids if opened else None))

        say.item("a")
        opened.append(open_catalogue(prepare))
        say.item("b")
        wait_until(lambda: "b" in opened[0].current.catalogue.item_ids, 5.0)
        assert seen[0] == (("a",), None)
        assert seen[-1] == (("a", "b"), ("a",))

    def test_a_release_is_called_live_once_the_catalogue_holds_it(self, open_catalogue, say, topics):
        prepared = []
        with structlog.testing.capture_logs() as logs:
            said = lambda: [each["release"] for each in logs if each["event"] == "release.live"]  # noqa: E731
            catalogue = open_catalogue(lambda snapshot: prepared.append((snapshot.catalogue.embedding_label, said())))
            say.release(save_release(model_of("a"), topics.model_dir, topics.embedding, "1"))
            wait_until(said, 5.0)
        assert prepared == [("", []), ("items@1", [])]
        assert (said(), catalogue.current.catalogue.embedding_label) == (["items@1"], "items@1")

    def test_where_little_changed_the_catalogue_is_that_of_all_items(self, open_catalogue, say, topics, monkeypatch):
        changed = []

        def note(before, entries, *rest):
            changed.append([entry.item.item_id for entry in entries])
            return change_catalogue(before, entries, *rest)

        monkeypatch.setattr("streams.catalogue.change_catalogue", note)
        for number in range(20):
            say.item(f"i{number}")
        say.release(save_release(model_of("i0", "new"), topics.model_dir, topics.embedding, "1"))
        catalogue = open_catalogue()
        say.item("new", title="New")
        wait_until(lambda: "new" in catalogue.current.catalogue.item_ids, 5.0)
        say.withdrawn("i3")
        now = wait_until(lambda: (now := catalogue.current.catalogue).listed.sum() == 20 and now, 5.0)
        assert changed == [["new"], ["i3"]]
        fresh = open_catalogue().current.catalogue
        assert now.items == fresh.items
        assert now.vectors.tolist() == fresh.vectors.tolist()
        assert now.has_vector[now.row_of("new")]
        say.release(save_release(model_of("i1", dim=3), topics.model_dir, topics.embedding, "2"))
        wait_until(lambda: catalogue.current.catalogue.embedding_label == "items@2", 5.0)
        assert catalogue.current.catalogue.dim == 3
        assert len(changed) == 2

    def test_many_records_are_taken_in_with_few_rebuilds(self, open_catalogue, producer, topics):
        catalogue = open_catalogue()
        for number in range(3000):
            item_id = str(number)
            producer.send(topics.topic("items"), key=item_id.encode(), value=encode(Item(item_id=item_id)))
        producer.flush(20)
        snapshot = wait_until(lambda: (now := catalogue.current).catalogue.size == 3000 and now)
        assert snapshot.version < 300

    def test_two_readers_hold_the_same_catalogue_in_the_same_order(self, open_catalogue, say):
        for name in "abcab":
            say.item(name)
        say.withdrawn("c")
        live = open_catalogue().current.catalogue
        fresh = open_catalogue().current.catalogue
        assert live.item_ids == fresh.item_ids
        assert live.listed.tolist() == fresh.listed.tolist()

    def test_a_missing_topic_is_named(self, settings, admin):
        with pytest.raises(ConfigurationError, match=r"items' does not exist: run `streamrec topics create`"):
            LiveCatalogue(settings, admin)
