"""What a scorer counts, beside what every process does."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from schemas.events import DEAD_LETTER_REASONS, ERROR_CODES

OK = "ok"

ANSWERS = Counter("streamrec_answers", "Requests answered; code is `ok` or the error's", ["code"])
REQUEST_LETTERS = Counter("streamrec_request_dead_letters", "Records of `requests` dead-lettered", ["reason"])
BATCH_REQUESTS = Histogram(
    "streamrec_batch_requests", "Requests of a micro-batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
SCORE_SECONDS = Histogram(
    "streamrec_score_seconds", "Time to score one request", buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1)
)
ANSWER_SECONDS = Histogram(
    "streamrec_answer_seconds",
    "From a request taken off the bus to its answer given to the producer; waiting for a state counts",
    buckets=(0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
WAITING = Gauge("streamrec_requests_waiting", "Requests that wait for a state or for the store")
UNANSWERED = Gauge("streamrec_requests_unanswered", "Requests taken whose answer the broker has not acknowledged")
LAG = Gauge(
    "streamrec_requests_lag",
    "Records of `requests` between those taken and the log end; NaN before a fetch",
    ["partition"],
)


class StateAges(Collector):
    """The age of each shard, looked at when somebody asks.

    Attributes:
        look: returns the age in seconds of each shard.
    """

    def __init__(self) -> None:
        self.look: Callable[[], Mapping[int, float]] = dict

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give a scrape the ages."""
        says = "Since the oldest watermark of a shard moved or was found at the end of the log, as answers say it"
        family = GaugeMetricFamily("streamrec_state_age_seconds", says, labels=["shard"])
        for shard, age_s in self.look().items():
            family.add_metric([str(shard)], age_s)
        yield family


STATE_AGES = StateAges()
REGISTRY.register(STATE_AGES)

for _code in (OK, *ERROR_CODES):
    ANSWERS.labels(_code)
for _reason in DEAD_LETTER_REASONS:
    REQUEST_LETTERS.labels(_reason)
