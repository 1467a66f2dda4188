"""``streamrec loadtest --embedded``: broker, store, worker, scorer and catalogue of the run's own, and their end."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender.embeddings.training import MIN_ITEMS
from schemas.events import Item
from services.admin.bus import open_admin
from services.admin.catalogue import publish_items
from services.admin.releases import publish_release
from services.cli.show import note
from services.runtime.engines import start_broker, start_store
from services.runtime.supervise import Supervisor
from services.runtime.up import SUITED_TO_TANSU
from services.trainer.embeddings import train_embeddings
from streams.bus.topics import create_topics
from streams.settings import Settings

LOGS = "logs"
_PROCESSES = ("worker", "scorer")
_PLAINTEXT: dict[str, Any] = {name: None for name in Settings.model_fields if name.startswith("kafka_")} | {
    "kafka_security_protocol": "PLAINTEXT"
}


@dataclass(frozen=True, slots=True)
class System:
    """A running system.

    Attributes:
        settings: where it is.
        pids: its processes, by name.
        supervisor: what watches them; None where the system is not ours.
    """

    settings: Settings
    pids: dict[str, int]
    supervisor: Supervisor | None = None

    def check(self) -> None:
        """Raise when one of its processes died.

        Raises:
            EngineError: with the log's path and last lines.
        """
        if self.supervisor is not None:
            self.supervisor.check()


@contextmanager
def embedded_system(
    settings: Settings, publish_catalogue: Callable[[Settings], object], directory: Path
) -> Iterator[System]:
    """Give a system that begins empty, with a catalogue; it is ended and removed afterwards.

    With KAFKA_HOME set the broker is that Apache Kafka, else Tansu. Logs stay in ``directory``.

    Args:
        settings: names and policies; the servers are the run's own.
        publish_catalogue: puts items and releases on its topics.
        directory: for logs.

    Raises:
        EngineError: a process did not start.
    """
    home = os.environ.get("KAFKA_HOME")
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamrec-loadtest-")))
        supervisor = stack.enter_context(Supervisor(directory / LOGS))
        store = start_store(own / "store")
        supervisor.adopt(store)
        broker = start_broker(own / "broker", kafka_home=Path(home) if home else None)
        supervisor.adopt(broker)
        told = {"bootstrap_servers": broker.url, "redis_url": store.url, "model_dir": str(own / "models")}
        suited = {} if home else SUITED_TO_TANSU
        running = Settings(**(settings.model_dump() | _PLAINTEXT | told | suited))
        with open_admin(running) as admin:
            create_topics(admin, running)
        argv = [sys.executable, "-m", "services.cli.main"]
        children = [supervisor.launch(each, [*argv, each], _environment_of(running)) for each in _PROCESSES]
        publish_catalogue(running)
        for child in children:
            child.wait_for_event(f"{child.name}.ready")
        note(f"{broker.name}, {store.name}, worker and scorer run; logs in {directory / LOGS}")
        pids = {"broker": broker.pid, "store": store.pid} | {child.name: child.pid for child in children}
        yield System(running, pids, supervisor)


def publish_with_vectors(items: Sequence[Item], settings: Settings) -> None:
    """Publish items, and vectors of theirs where enough of them say what they are."""
    publish_items(settings, items)
    if sum(bool(item.genres or item.year is not None) for item in items) < MIN_ITEMS:
        note("the items have no genres and years, so they get no vectors")
        return
    trained = train_embeddings(items, "pca", model_dir=settings.model_dir, name=settings.embedding)
    publish_release(settings, trained.release)


def _environment_of(settings: Settings) -> dict[str, str]:
    """Return every setting, so that no file says otherwise."""
    values = settings.model_dump(exclude_none=True)
    return {f"STREAMREC_{name.upper()}": str(value) for name, value in values.items()}
