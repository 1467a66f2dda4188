"""Releases onto the topic and back."""

import pytest

from schemas.events import ModelRelease
from services.admin.bus import produce_all
from services.admin.releases import publish_release, read_releases

pytestmark = pytest.mark.integration


def release(name, version):
    return ModelRelease(name=name, version=version, kind="embedding", uri="file:///m", sha256="0" * 64)


def test_newest_release_of_each_name_is_active(topics):
    for one in (release("items", "1"), release("other", "1"), release("items", "2")):
        publish_release(topics, one)
    assert read_releases(topics) == {"items": release("items", "2"), "other": release("other", "1")}


def test_null_withdraws_a_release_and_rubbish_is_passed_over(topics):
    publish_release(topics, release("items", "1"))
    produce_all(topics, topics.topic("models"), [(b"items", None), (b"items", b"rubbish")])
    assert read_releases(topics) == {}
