import importlib.util
import json
import os
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from kafka import TopicPartition
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from recommender.embeddings.training import PcaSettings
from services.admin.releases import publish_release
from services.admin.scrapes import scrape
from services.lab.synthetic import Sizes, generate
from services.runtime.engines import start_store
from services.trainer.embeddings import train_embeddings
from streams.bus.clients import make_consumer
from tests.integration.any_client import Client
from tests.integration.collector import Collector
from tests.integration.commands import Shells
from tests.integration.system import ROOT, end
from tests.metrics_table import documented_metrics
from tests.promql import OF_PROMETHEUS, expressions, grouping, selectors
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

ROLES = ("worker", "scorer")
RATINGS = 300
STALLED_AFTER_S = 1.5
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01".encode()
ADDED_BY_PROMETHEUS = {"job", "instance"}
LATE = {"streamrec_ratings_lag", "streamrec_requests_lag", "streamrec_state_age_seconds"}
BOUNDED = {
    *("role", "version", "python", "device", "name", "reason", "code", "outcome", "partition", "shard"),
    *("le", "generation", "implementation", "major", "minor", "patchlevel"),
}
"""Every label there may be: the project's, then those of prometheus-client's own metrics."""


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    with start_store(tmp_path_factory.mktemp("own store")) as engine:
        yield engine


@pytest.fixture(scope="module")
def collector():
    with Collector() as receiving:
        yield receiving


@pytest.fixture(scope="module")
def observed(make_system, own_store, broker, collector):
    """A system that serves its numbers and traces, after traffic of every kind; by role, where its endpoint is."""
    system = make_system(
        redis_url=own_store.url,
        metrics_port=0,
        stalled_after_s=STALLED_AFTER_S,
        store_timeout_s=1,
        otlp_endpoint=collector.url,
        log_level="DEBUG",
    )
    system.start(*ROLES)
    urls = {role: system.children[role].wait_for_event("metrics.ready")["url"] for role in ROLES}
    client = Client(broker.url, system.settings.topic_prefix)
    items, ratings = generate(5, Sizes(users=20, items=30, ratings=RATINGS))
    system.publish(items)
    trained = train_embeddings(items, "pca", PcaSettings(dim=4), system.settings.model_dir, version="first")
    publish_release(system.settings, trained.release)
    for row in ratings.itertuples():
        client.rate(row.user_id, row.item_id, row.rating)
    value = json.dumps({"user_id": "traced-user", "item_id": items[0].item_id, "rating": 4}).encode()
    client.send("ratings", b"traced-user", value, headers=[("traceparent", TRACEPARENT)])
    client.send("ratings", b"k", b"not JSON")
    asked = {"request_id": "traced", "user_id": "traced-user", "min_t": 1, "deadline_ms": 20_000}
    client.send("requests", b"k", json.dumps(asked).encode(), headers=[("traceparent", TRACEPARENT)])
    client.send("requests", b"k", b"not JSON")
    assert client.answer("traced")["error"] is None
    assert client.ask("u1", policy="nobody's")["error"]["code"] == "unknown_policy"
    system.wait_until_applied(RATINGS + 2)
    wait_until(lambda: client.ask("u1")["model"] == "items@first", message="the release is live")
    yield SimpleNamespace(system=system, urls=urls, client=client, store=own_store)
    client.close()


def get(url, path):
    """The status and text of a page."""
    try:
        with urllib.request.urlopen(url + path, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def readiness(observed, role):
    code, text = get(observed.urls[role], "/readyz")
    said = json.loads(text)
    assert (code == 200, said["role"]) == (said["ready"], role)
    return said


def numbers_of(observed):
    """Every sample of both processes, once all gauges that wait for something are there."""

    def look():
        found = {}
        for role in ROLES:
            for name, samples in scrape(observed.urls[role]).samples.items():
                found.setdefault(name, []).extend(samples)
        return found if found.keys() >= LATE else None

    return wait_until(look, message="every gauge is there")


def test_every_metric_of_the_dashboard_and_the_alert_rules_exists_with_its_labels(observed):
    numbers = numbers_of(observed)
    missing = []
    for expression in expressions():
        asked = selectors(expression)
        known = {label for name, _ in asked for labels, _ in numbers.get(name, ()) for label in labels}
        missing += [name for name, _ in asked if name not in numbers and name not in OF_PROMETHEUS]
        used = {label for _, labels in asked for label in labels} | grouping(expression)
        missing += [f"{label} of {expression}" for label in used - known - ADDED_BY_PROMETHEUS]
    assert missing == []


def test_every_documented_metric_is_served_by_the_process_that_is_named_and_no_other_is_served(observed):
    documented = documented_metrics()
    for role in ROLES:
        numbers = scrape(observed.urls[role]).samples
        families = {
            re.sub(r"_(bucket|sum|count|created)$", "", name) for name in numbers if name.startswith("streamrec_")
        }
        families -= {name for name in families if f"{name}_total" in families}
        expected = {name for name, process in documented.items() if process in {"both", role}}
        assert families == expected


def test_labels_are_bounded_and_no_user_item_or_request_is_among_them(observed):
    samples = [labels for found in numbers_of(observed).values() for labels, _ in found]
    assert {name for labels in samples for name in labels} <= BOUNDED
    values = {value for labels in samples for value in labels.values()}
    assert not {value for value in values if re.fullmatch(r"u\d+|m?\d{4,}|traced.*", value)}
    assert len(samples) < 1000


def test_numbers_are_those_of_what_happened(observed):
    worker, scorer = (scrape(observed.urls[role]) for role in ROLES)
    assert worker.total("streamrec_ratings_total", outcome="applied") == RATINGS + 1
    assert worker.total("streamrec_rating_dead_letters_total", reason="not_json") == 1
    assert worker.total("streamrec_ratings_next_offset") == RATINGS + 2
    assert worker.total("streamrec_batch_ratings_sum") == RATINGS + 2
    wait_until(lambda: scrape(observed.urls["worker"]).total("streamrec_ratings_lag") == 0)
    assert scorer.total("streamrec_answers_total", code="unknown_policy") == 1
    assert scorer.total("streamrec_request_dead_letters_total", reason="not_json") == 1
    assert scorer.total("streamrec_answer_seconds_count") == scorer.total("streamrec_answers_total")
    for each in (worker, scorer):
        assert [labels for labels, _ in each.of("streamrec_model_info")] == [{"name": "items", "version": "first"}]
        assert each.label("streamrec_device_info", "device") == "cpu"
        assert each.total("streamrec_ready") == 1


def test_each_batch_has_one_line_in_the_log(observed):
    for role, event, counted in (("worker", "batch.applied", "records"), ("scorer", "batch.answered", "requests")):
        lines = [line for line in observed.system.children[role].events() if line.get("event") == event]
        numbers = scrape(observed.urls[role])
        kind = "ratings" if role == "worker" else "requests"
        assert len(lines) == numbers.total(f"streamrec_batch_{kind}_count")
        assert sum(line[counted] for line in lines) == numbers.total(f"streamrec_batch_{kind}_sum")


def test_a_request_s_trace_goes_on_in_the_scorer_and_in_the_answer_s_headers(observed, collector):
    settings = observed.system.settings
    reader = make_consumer(settings, auto_offset_reset="earliest")
    topic = settings.topic("recommendations")
    reader.assign([TopicPartition(topic, number) for number in range(settings.partitions)])

    def answer():
        records = [record for found in reader.poll(timeout_ms=20).values() for record in found]
        return next((record for record in records if b'"traced"' in record.value), None)

    headers = dict(wait_until(answer).headers)
    reader.close()
    _, trace, span_id, flags = headers["traceparent"].decode().split("-")
    assert (trace, flags) == (TRACE, "01")
    span = wait_until(lambda: next((s for s in collector.of("streamrec-scorer") if s.span_id.hex() == span_id), None))
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, PARENT, Span.SPAN_KIND_CONSUMER)
    attributes = {kv.key: kv.value for kv in span.attributes}
    assert attributes["messaging.destination.name"].string_value == settings.topic("requests")
    assert attributes["streamrec.policy"].string_value == "greedy"
    assert span.end_time_unix_nano > span.start_time_unix_nano
    assert not re.search(r"traced-user", str(span))


def test_a_batch_s_span_is_linked_to_the_traces_of_its_ratings(observed, collector):
    name = f"{observed.system.settings.topic('ratings')} apply"

    def linked():
        spans = [span for span in collector.of("streamrec-worker") if span.name == name]
        return [span for span in spans if any(link.trace_id.hex() == TRACE for link in span.links)]

    (span,) = wait_until(linked)
    (link,) = span.links
    assert link.span_id.hex() == PARENT
    assert not span.parent_span_id


def test_a_refused_and_a_dead_lettered_request_end_their_spans_as_errors(observed, collector):
    def faults():
        spans = collector.of("streamrec-scorer")
        found = {span.status.message for span in spans if span.status.code == Status.STATUS_CODE_ERROR}
        return found if {"unknown_policy", "not_json"} <= found else None

    wait_until(faults)


def test_top_shows_a_frame_of_the_running_system(observed, tmp_path):
    where = [part for url in observed.urls.values() for part in ("--url", url)]
    shells = Shells(tmp_path, observed.system.supervisor)
    table = shells.say("top", "--once", "--every", "0.1", *where)
    assert "2 of 2 ready" in table
    assert all(url.removeprefix("http://") in table for url in observed.urls.values())
    said = json.loads(shells.say("top", "--once", "--every", "0.1", "--json", *where))["processes"]
    assert [(each["role"], each["ready"]) for each in said] == [("worker", True), ("scorer", True)]
    partitions = said[0]["partitions"].values()
    assert sum(each["next_offset"] for each in partitions) == RATINGS + 2
    assert said[1]["models"] == {"items": "first"}


def test_the_images_health_check_asks_the_process_itself(observed, monkeypatch):
    spec = importlib.util.spec_from_file_location("health", ROOT / "deploy/health.py")
    health = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(health)
    for role, url in observed.urls.items():
        monkeypatch.setenv("STREAMREC_METRICS_PORT", url.rsplit(":", 1)[1])
        assert health.main() == 0, role
    monkeypatch.setenv("STREAMREC_METRICS_PORT", "1")
    assert "does not answer" in health.main()


def test_worker_and_scorer_are_not_ready_while_the_store_hangs_and_are_again_after_it(observed):
    assert wait_until(lambda: readiness(observed, "worker")["ready"])
    os.kill(observed.store.pid, signal.SIGSTOP)
    try:
        for number in range(40):
            observed.client.rate(f"late-{number}", "i1", 3.0)

        def reasons(role):
            said = readiness(observed, role)
            return "" if said["ready"] else "; ".join(said["reasons"])

        wait_until(
            lambda: re.search(r"partition \d is stalled: watermark \d+, [1-9]\d* records behind", reasons("worker"))
        )
        wait_until(lambda: "the store did not answer" in reasons("scorer"))
        worker = scrape(observed.urls["worker"])
        assert worker.total("streamrec_ready") == 0
        assert worker.total("streamrec_ratings_lag") > 0
        assert max(age for _, age in worker.of("streamrec_watermark_age_seconds")) > STALLED_AFTER_S
        assert get(observed.urls["worker"], "/livez")[0] == get(observed.urls["scorer"], "/livez")[0] == 200
        table = Shells(Path.cwd(), observed.system.supervisor).run("top", "--once", "--url", observed.urls["worker"])
        assert (table.returncode, "is stalled" in table.stdout) == (1, True)
    finally:
        os.kill(observed.store.pid, signal.SIGCONT)
    for role in ROLES:
        wait_until(lambda role=role: readiness(observed, role)["ready"], message=f"{role} is ready again")
    observed.system.wait_until_applied(RATINGS + 42)
    assert scrape(observed.urls["worker"]).total("streamrec_store_failures_total") > 0


def test_both_end_cleanly_and_take_back_what_they_listed(observed):
    listed = [Path(".streamrec/metrics") / f"{role}-{observed.system.children[role].pid}.json" for role in ROLES]
    assert all(path.exists() for path in listed)
    assert [end(observed.system.children[role]) for role in ROLES] == [0, 0]
    assert not any(path.exists() for path in listed)
