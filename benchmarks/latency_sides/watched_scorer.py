"""`streamrec scorer` as it is, which also says how many batches it answered when it gets SIGUSR2."""

import signal

from prometheus_client import REGISTRY

from benchmarks.ingest_sides.progress import say
from services.cli.main import main

ASK = signal.SIGUSR2


def _tell(*_: object) -> None:
    name = "streamrec_batch_requests"
    say(
        "side.batches",
        batches=REGISTRY.get_sample_value(f"{name}_count") or 0.0,
        requests=REGISTRY.get_sample_value(f"{name}_sum") or 0.0,
    )


if __name__ == "__main__":
    signal.signal(ASK, _tell)
    main(["scorer"])
