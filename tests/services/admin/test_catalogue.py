"""Items onto the topic and back."""

import pytest

from schemas.errors import CatalogueError, ConfigurationError, EventError
from schemas.events import Item
from services.admin.bus import produce_all
from services.admin.catalogue import publish_items, read_catalogue, refuse_collisions

pytestmark = pytest.mark.integration


def item(item_id, **fields):
    return Item(item_id=item_id, **fields)


def test_published_items_are_read_back(topics):
    items = [item(str(i), title=f"title {i}", genres=("Drama",), year=1990 + i) for i in range(9)]
    told = []
    assert publish_items(topics, items, told.append) == 9
    assert told == [9]
    catalogue = read_catalogue(topics)
    assert sorted(catalogue.items, key=lambda one: one.item_id) == items
    assert (catalogue.withdrawn, catalogue.refused) == (frozenset(), 0)


def test_empty_topic_is_an_empty_catalogue(topics):
    assert read_catalogue(topics).item_ids == []


def test_newest_description_counts_and_null_withdraws(topics):
    publish_items(topics, [item("a", title="old"), item("b")])
    publish_items(topics, [item("a", title="new")])
    produce_all(topics, topics.topic("items"), [(b"b", None), (b"c", b"{no item")])
    catalogue = read_catalogue(topics)
    assert [one.title for one in catalogue.items] == ["new"]
    assert catalogue.withdrawn == {"b"}
    assert catalogue.refused == 1
    assert catalogue.item_ids == ["a", "b"]


def test_items_are_in_order_of_offset_then_id(topics):
    items = [item(f"i{number}") for number in range(40)]
    publish_items(topics, items)
    catalogue = read_catalogue(topics)
    assert len(catalogue.items) == 40
    by_partition_end = [one.item_id for one in catalogue.items]
    assert by_partition_end != sorted(by_partition_end), "offsets come before ids"


def test_item_against_the_contract_is_refused_before_anything_is_sent(topics):
    with pytest.raises(EventError, match="too_large"):
        publish_items(topics, [item("a"), item("b", title="x" * 300_000)])
    assert read_catalogue(topics).items == ()


def test_missing_topic_is_named(settings):
    with pytest.raises(ConfigurationError, match=r"items.*topics create"):
        publish_items(settings, [item("a")])


def test_collision_is_refused_naming_both():
    with pytest.raises(CatalogueError, match="'bb' is refused: its hash 2 is that of 'aa'"):
        refuse_collisions(["a", "aa", "bb"], hash_of=len)


def test_id_that_comes_twice_is_no_collision():
    refuse_collisions(["a", "b", "a"])


def test_collision_with_what_the_topic_has_is_refused(topics, monkeypatch):
    publish_items(topics, [item("aa")])
    monkeypatch.setattr(refuse_collisions, "__defaults__", (len,))
    with pytest.raises(CatalogueError, match="'bb'"):
        publish_items(topics, [item("bb")])
    assert [one.item_id for one in read_catalogue(topics).items] == ["aa"]
