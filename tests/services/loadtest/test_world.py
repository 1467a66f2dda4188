"""The catalogue and releases of a run, kept and published elsewhere: the same order, names and files."""

from pathlib import Path

import pytest

from recommender.embeddings.training import PcaSettings
from schemas.errors import ModelError
from schemas.events import Item
from schemas.topics import TOPICS
from services.admin.bus import produce_all
from services.admin.catalogue import publish_items, read_catalogue
from services.admin.releases import publish_release, read_releases
from services.loadtest.record import FileRecorder
from services.loadtest.world import keep_world, publish_world
from services.trainer.embeddings import train_embeddings
from streams.models.releases import load_release

pytestmark = pytest.mark.integration

ITEMS = [
    Item(item_id=f"i{n}", title=f"Item {n}", genres=("Drama",) if n % 2 else ("War", "Drama"), year=1950 + n)
    for n in range(30)
]


@pytest.fixture
def kept(topics, tmp_path):
    """The folder of a record; items lie in several partitions, some were described anew, some withdrawn."""
    publish_items(topics, ITEMS)
    produce_all(topics, topics.topic("items"), [(b"i3", None), (b"never described", None), (b"i9", b"no item")])
    publish_items(topics, ITEMS[:2])
    release = train_embeddings(ITEMS, "pca", PcaSettings(dim=2), topics.model_dir).release
    publish_release(topics, release)
    with FileRecorder(tmp_path / "record", {}) as recorder:
        keep_world(recorder, topics)
    Path(release.uri.removeprefix("file://")).unlink()
    return tmp_path / "record"


def test_world_published_elsewhere_is_the_same(kept, topics, make_settings, admin):
    other = make_settings(bootstrap_servers=topics.bootstrap_servers, redis_url=topics.redis_url)
    wanted = {other.topic(role): {"num_partitions": 3, "replication_factor": 1} for role in TOPICS}
    admin.create_topics(wanted, wait_for_metadata=True)
    publish_world(kept, other)
    was, is_now = read_catalogue(topics), read_catalogue(other)
    assert is_now.items == was.items
    assert len(was.items) == 29
    assert is_now.withdrawn == was.withdrawn == {"i3", "never described"}
    (release,) = read_releases(other).values()
    assert release.label == read_releases(topics)["items"].label
    assert load_release(release).item_ids == tuple(item.item_id for item in ITEMS)


def test_release_whose_file_is_gone_is_not_kept(kept, topics, tmp_path):
    with pytest.raises(ModelError, match="is not where it was released"), FileRecorder(tmp_path / "r", {}) as recorder:
        keep_world(recorder, topics)
