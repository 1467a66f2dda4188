"""What both Faust agents share: the record, and an app as Faust's own guide makes it, without web server and tables."""

import tempfile

import faust

from benchmarks.ingest_sides.progress import GROUP_HEARTBEAT_MS, GROUP_SESSION_MS


class Rating(faust.Record, serializer="json"):
    """A rating as a Faust application declares it."""

    user_id: str
    item_id: str
    rating: float
    ts_ms: int | None = None


def make_app(name: str, servers: str) -> faust.App:
    """Return an app whose group has this name."""
    return faust.App(
        name,
        broker=f"kafka://{servers}",
        datadir=tempfile.mkdtemp(prefix="streamrec-bench-"),
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=GROUP_SESSION_MS / 1000,
        broker_heartbeat_interval=GROUP_HEARTBEAT_MS / 1000,
        broker_rebalance_timeout=6.0,
    )


def run(app: faust.App) -> None:
    """Run a worker of the app until the process is ended."""
    faust.Worker(app, loglevel="warning", quiet=True, redirect_stdouts=False).execute_from_commandline()
