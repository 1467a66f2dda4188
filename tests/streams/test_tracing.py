import subprocess
import sys
import time

import pytest

from schemas.errors import ConfigurationError
from schemas.events import Recommendation
from streams.settings import Settings, load_settings
from streams.tracing import open_tracing

OFF = """
import sys
import services.scorer.service, streams.worker.app
from streams.settings import Settings
from streams.tracing import open_tracing
with open_tracing(Settings(), "worker") as spans:
    assert spans is None
# redis-py imports OpenTelemetry's metrics wherever they are installed; what makes and sends spans is ours to import.
found = [name for name in sys.modules if name.startswith(("opentelemetry.exporter", "opentelemetry.sdk.trace"))]
assert not found and "streams.spans" not in sys.modules, found
"""


def test_nothing_of_opentelemetry_is_imported_where_nothing_is_traced():
    subprocess.run([sys.executable, "-c", OFF], check=True, timeout=60)


def test_a_collector_that_is_away_delays_the_end_by_little():
    began = time.monotonic()
    with open_tracing(Settings(otlp_endpoint="http://127.0.0.1:1"), "scorer") as spans:
        spans.begin_request("requests", 0, 0, ()).finish(Recommendation(request_id="r", user_id="u"))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("header", [b"", b"00-zz", b"\xff\xff", None, b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"])
def test_a_header_that_is_no_trace_context_begins_a_trace_of_its_own(header):
    with open_tracing(Settings(otlp_endpoint="http://127.0.0.1:1"), "scorer") as spans:
        span = spans.begin_request("requests", 0, 0, [("traceparent", header), ("other", None)])
        sent = dict(span.finish(Recommendation(request_id="r", user_id="u")))
    _, trace, _, flags = sent["traceparent"].decode().split("-")
    assert int(trace, 16) > 0
    assert int(flags, 16) & 1


def test_a_trace_that_is_not_kept_goes_on_as_not_kept():
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    with open_tracing(Settings(otlp_endpoint="http://127.0.0.1:1"), "scorer") as spans:
        sent = dict(
            spans.begin_request("requests", 0, 0, [("traceparent", parent)]).finish(
                Recommendation(request_id="r", user_id="u")
            )
        )
    assert sent["traceparent"].decode().startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert sent["traceparent"].endswith(b"-00")


def test_an_endpoint_that_is_no_url_is_refused():
    with pytest.raises(ConfigurationError, match="otlp_endpoint must begin with http"):
        load_settings(otlp_endpoint="localhost:4318")
