"""streamrec's own processes around one namespace on a broker and a store, as an operator runs them."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from recommender.ledger import Ledger
from schemas.events import Item
from schemas.topics import TOPICS
from services.admin.bus import open_admin
from services.admin.catalogue import publish_items
from services.admin.digest import StateDigest, state_digest
from services.runtime.supervise import Child, Supervisor
from streams.bus.topics import create_topics, require_topic
from streams.settings import Settings
from streams.store.clients import make_client
from streams.store.reader import StateReader, merge_watermarks
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
STREAMREC = (sys.executable, "-m", "services.cli.main")
STOP_S = 10.0


def environment_of(settings: Settings) -> dict[str, str]:
    """Every setting as a process is told it, so that no file of a developer's can say otherwise."""
    values = settings.model_dump(exclude_none=True)
    return {"PYTHONPATH": str(ROOT)} | {f"STREAMREC_{name.upper()}": str(value) for name, value in values.items()}


class System:
    """Topics on a broker, a namespace in a store, and the processes between them; a context manager."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        with open_admin(settings) as admin:
            create_topics(admin, settings)
            self.topics = {role: require_topic(admin, settings.topic(role)) for role in TOPICS}
        self.store = make_client(settings)
        self.supervisor = Supervisor(directory)
        self.children: dict[str, Child] = {}

    def launch(
        self,
        command: str,
        *arguments: str,
        name: str = "",
        argv: Sequence[str] = STREAMREC,
        settings: Settings | None = None,
    ) -> Child:
        """Start a command and return at once; the system's settings are its own unless others are given."""
        name, environment = name or command, environment_of(settings or self.settings)
        self.children[name] = self.supervisor.launch(name, [*argv, command, *arguments], environment)
        return self.children[name]

    def start(self, *commands: str) -> list[Child]:
        """Start commands side by side and wait until each is ready."""
        children = [self.launch(command) for command in commands]
        for command, child in zip(commands, children, strict=True):
            child.wait_for_event(f"{command}.ready")
        return children

    def publish(self, items: Iterable[Item]) -> None:
        publish_items(self.settings, items)

    def applied(self, settings: Settings | None = None) -> int:
        """The records of ``ratings`` behind the watermarks."""
        return sum(merge_watermarks(self._reader(settings).read([], all_shards=True).shards).values())

    def ledgers(self, user_ids: Sequence[str]) -> Mapping[str, Ledger | None]:
        return self._reader(None).read(user_ids).ledgers

    def _reader(self, settings: Settings | None) -> StateReader:
        settings = settings or self.settings
        topic = self.topics["ratings"]
        return StateReader(self.store, settings.namespace, settings.shards, topic.topic_id, topic.partitions)

    def wait_until_applied(self, records: int, settings: Settings | None = None, timeout_s: float = 60.0) -> None:
        """Wait until exactly this many records are behind the watermarks, while no process dies."""

        def is_done() -> bool:
            self.supervisor.check()
            return self.applied(settings) >= records

        wait_until(is_done, timeout_s, f"{records} ratings applied")
        assert self.applied(settings) == records

    def kill_when_applied(self, records: int, *children: Child) -> None:
        """Kill processes once so many records are behind the watermarks, and run them again at once."""
        wait_until(lambda: self.applied() >= records, 60, f"{records} ratings applied")
        for child in children:
            child.kill()
        for child in children:
            child.restart()

    def digest(self, item_ids: Iterable[str], settings: Settings | None = None) -> StateDigest:
        return state_digest(self.store, settings or self.settings, item_ids)

    def close(self) -> None:
        self.supervisor.stop(STOP_S)
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def end(child: Child) -> int | None:
    """Ask a process to end as an operator does, and return its exit code, None when it took more than 10 s."""
    child.terminate()
    return child.wait(STOP_S)
