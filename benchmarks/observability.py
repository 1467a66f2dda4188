"""What counting costs: what a worker does once a batch, a scorer once a request, and a scrape of both.

Each is timed alone, as the processes call it. Beside it stands the decoding of one rating.
"""

from collections.abc import Callable

from prometheus_client import REGISTRY
from prometheus_client.exposition import generate_latest

from benchmarks.harness import Side, measure, ratio, read_arguments, report
from schemas.codec import RatingDecoder
from services.scorer import metrics as of_scorer
from streams.worker import metrics as of_worker

CALLS = 50_000
QUICK_CALLS = 5_000
SCRAPES = 200
DECODE, BATCH, REQUEST, SCRAPE = "decode one rating", "a batch of ratings", "a request", "a scrape"
RATING = b'{"user_id":"196","item_id":"242","rating":3.0}'


def main() -> None:
    """Measure and report."""
    arguments = read_arguments("observability", str(__doc__))
    calls = QUICK_CALLS if arguments.quick else CALLS
    decoder = RatingDecoder(0.5, 5.0)
    sides = [
        Side(DECODE, _loop(lambda: decoder.decode(RATING), calls), calls),
        Side(BATCH, _loop(lambda: of_worker.observe_batch(500, 495, 5, {}, 3, 0, 0.01), calls), calls),
        Side(REQUEST, _loop(_count_request, calls), calls),
        Side(SCRAPE, _loop(lambda: generate_latest(REGISTRY), SCRAPES), SCRAPES),
    ]
    found = measure(sides)
    ratios = {f"{name}_vs_decoding": ratio(found[name], found[DECODE]) for name in (BATCH, REQUEST)}
    rows = [measurement.row() for measurement in found.values()]
    report("observability", rows, ratios, packages=("prometheus-client", "msgspec"), as_json=arguments.json)


def _count_request() -> None:
    of_scorer.SCORE_SECONDS.observe(0.002)
    of_scorer.ANSWERS.labels(of_scorer.OK).inc()
    of_scorer.ANSWER_SECONDS.observe(0.004)


def _loop(work: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            work()

    return run


if __name__ == "__main__":
    main()
