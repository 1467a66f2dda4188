import json
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import ConfigurationError
from streams import metrics
from streams.endpoint import LISTED, listed_endpoints, serve_endpoint
from streams.settings import Settings


@pytest.fixture
def in_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_nothing_is_served_unless_a_port_is_set(in_directory):
    with serve_endpoint(Settings(), "worker") as health:
        assert health.role == "worker"
        assert listed_endpoints() == []


def test_readiness_is_told_with_its_reasons_and_as_a_number(in_directory):
    with serve_endpoint(Settings(metrics_port=0), "scorer") as health:
        (url,) = listed_endpoints()
        assert get(f"{url}/readyz") == (503, '{"ready": false, "role": "scorer", "reasons": ["starting"]}\n')
        assert REGISTRY.get_sample_value("streamrec_ready") == 0
        health.begin("")
        assert get(f"{url}/readyz") == (200, '{"ready": true, "role": "scorer", "reasons": []}\n')
        assert REGISTRY.get_sample_value("streamrec_ready") == 1
        assert get(f"{url}/livez") == (200, '{"alive": true}\n')


def test_metrics_are_as_prometheus_reads_them_and_other_paths_are_not_there(in_directory):
    with serve_endpoint(Settings(metrics_port=0), "scorer"):
        (url,) = listed_endpoints()
        families = {family.name for family in text_string_to_metric_families(get(f"{url}/metrics")[1])}
        assert {"streamrec_build_info", "streamrec_ready", "process_resident_memory_bytes"} <= families
        assert get(f"{url}/metrics?name=x")[0] == 200
        assert get(f"{url}/users")[0] == 404


def test_a_port_that_is_taken_refuses_to_start(in_directory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=f"'127.0.0.1', metrics_port {port}: .*in use"),
            serve_endpoint(Settings(metrics_port=port), "worker"),
        ):
            pass


def test_a_port_that_was_named_is_bound_and_listed_nowhere(in_directory):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serve_endpoint(Settings(metrics_port=port), "worker"):
        assert get(f"http://127.0.0.1:{port}/livez")[0] == 200
        assert not LISTED.exists()


def test_what_processes_that_are_gone_have_listed_is_passed_over(in_directory):
    LISTED.mkdir(parents=True)
    (LISTED / "worker-1.json").write_text("{")
    (LISTED / "worker-2.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 2**22 + 1}))
    assert listed_endpoints() == []


def test_of_each_release_name_one_version_is_shown():
    def shown():
        samples = [sample for family in metrics.MODEL.collect() for sample in family.samples]
        return [sample.labels["version"] for sample in samples if sample.labels["name"] == "one-name"]

    metrics.show_release("one-name", None, "a")
    metrics.show_release("one-name", "a", "b")
    assert shown() == ["b"]
    metrics.show_release("one-name", "b", None)
    assert shown() == []
