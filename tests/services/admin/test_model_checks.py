"""What the doctor makes of catalogue, embeddings and torch."""

import sys

import numpy as np
import pytest

from schemas.events import Item
from services.admin.bus import produce_all
from services.admin.catalogue import publish_items
from services.admin.model_checks import check_catalogue, check_embeddings, check_policy_models, check_torch
from services.admin.releases import publish_release
from services.trainer.embeddings import train_embeddings
from streams.models.releases import save_release
from tests.policy_models import linear_model

ITEMS = [Item(item_id=f"i{i}", genres=("Drama", "Crime")[: 1 + i % 2], year=1990 + i % 5) for i in range(30)]


def asked(program):
    return [(one.check, one.status, one.says) for one in check_torch((sys.executable, "-c", program))]


def test_torch_and_gpus_are_named():
    assert asked("print('2.9.1 |', 'H200, H200')") == [("torch", "ok", "2.9.1"), ("gpu", "ok", "H200, H200")]


def test_no_gpu_is_no_fault():
    assert asked("print('2.9.1 |', '')")[1] == ("gpu", "ok", "none; the CPU does all the work")


def test_torch_that_is_missing_or_broken_is_a_warning_with_the_reason():
    assert asked("raise ImportError('libcuda.so.1')") == [("torch", "warn", "ImportError: libcuda.so.1")]


def test_python_that_cannot_be_run_is_a_warning():
    (finding,) = check_torch(("/nowhere/python",))
    assert (finding.check, finding.status) == ("torch", "warn")


@pytest.mark.integration
def test_catalogue_is_counted(topics):
    (finding,) = check_catalogue(topics)
    assert (finding.status, finding.says) == ("warn", "no items")
    assert "streamrec catalog load" in finding.remedy
    publish_items(topics, [*ITEMS, Item(item_id="plain")])
    (finding,) = check_catalogue(topics)
    assert (finding.status, finding.says) == ("ok", "31 items, 0 withdrawn, 1 without genre and year")
    produce_all(topics, topics.topic("items"), [(b"x", b"rubbish")])
    (finding,) = check_catalogue(topics)
    assert finding.status == "warn"
    assert "1 refused" in finding.says


@pytest.mark.integration
def test_embeddings_are_fetched_and_their_sum_is_checked(topics):
    (finding,) = check_embeddings(topics)
    assert (finding.status, finding.remedy) == ("warn", "run `streamrec train autoencoder`")

    publish_items(topics, ITEMS)
    release = train_embeddings(ITEMS, "pca", model_dir=topics.model_dir, name=topics.embedding).release
    publish_release(topics, release)
    (finding,) = check_embeddings(topics)
    assert finding.status == "ok"
    assert "30 of 30 items have a vector" in finding.says

    publish_items(topics, [Item(item_id=f"plain {i}") for i in range(40)])
    (finding,) = check_embeddings(topics)
    assert (finding.status, finding.remedy) == ("warn", "train again on this catalogue")

    publish_release(topics, replace_sum(release))
    (finding,) = check_embeddings(topics)
    assert finding.status == "fail"
    assert "0" * 64 in finding.says


@pytest.mark.integration
def test_models_of_policies_are_fetched_and_missed_only_where_a_policy_is_routed_to(topics):
    assert list(check_policy_models(topics)) == []
    (missing,) = check_policy_models(topics.model_copy(update={"policy": "linear=0.5,greedy=0.5"}))
    assert (missing.check, missing.status) == ("policy linear", "fail")
    assert "model_unavailable" in missing.says

    publish_items(topics, ITEMS)
    model = linear_model([item.item_id for item in ITEMS], np.ones((30, 2)))
    release = save_release(model, topics.model_dir, "linear", kind="policy")
    publish_release(topics, release)
    (finding,) = check_policy_models(topics)
    assert finding.status == "ok"
    assert "knows 30 of 30 items" in finding.says

    publish_release(topics, replace_sum(release))
    (finding,) = check_policy_models(topics)
    assert finding.status == "fail"
    assert "0" * 64 in finding.says


def replace_sum(release):
    return type(release)(**{name: getattr(release, name) for name in release.__struct_fields__} | {"sha256": "0" * 64})
