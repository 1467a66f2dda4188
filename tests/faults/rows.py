"""The table of faults: what each row does, to whom, and how it is run."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults import rows_bus, rows_cluster, rows_halt, rows_network, rows_servers, rows_store, rows_worker
from tests.faults.stage import Stage


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        number: as docs/reliability.md counts; a letter tells variants apart.
        what: the fault, in words.
        run: does it once and returns the seconds of the recovery.
        recovery: what these seconds measure.
        is_fresh: whether every seed gets topics and a namespace of its own.
        needs_kafka: whether only Apache Kafka can show it.
        settles: whether everything is applied in the end; a halt leaves the rest of the log alone.
        is_checked: whether the state is compared with the book.
        seed_s: about the seconds of a seed; the longest rows start first.
    """

    number: str
    what: str
    run: Callable[[Stage, random.Random], float]
    recovery: str = "fault over to next commit"
    is_fresh: bool = False
    needs_kafka: bool = False
    settles: bool = True
    is_checked: bool = True
    seed_s: int = 5

    @property
    def family(self) -> str:
        """The number without its letter."""
        return self.number.rstrip("abcdefghij")


HALTED = "fault to halt"
APPLIED = "start to all applied"

ROWS = (
    Row("1a", "worker kill -9 before the script", rows_worker.kill_before_script),
    Row("1b", "worker kill -9 between script and acknowledge", rows_worker.kill_after_script),
    Row("1c", "worker kill -9 between acknowledge and Kafka's commit", rows_worker.kill_before_hint),
    Row("1d", "worker kill -9 in the middle of dead letters", rows_worker.kill_in_dead_letter),
    Row("2", "worker SIGTERM in mid-batch: out with 0 within 10 s", rows_worker.terminate_in_batch),
    Row("3", "store kill -9, restarted from its AOF", rows_servers.kill_store),
    Row("4", "store restarted with the tail of its AOF cut off", rows_store.lose_tail),
    Row("4b", "the same, a batch folded and others fetched", rows_store.lose_tail_with_batch_fetched),
    Row("5", "store stopped for 30 s (first seed; then 6 s)", rows_store.store_away, seed_s=12),
    Row(
        "6",
        "FLUSHALL: halt, and halt again",
        rows_halt.flushed,
        HALTED,
        is_fresh=True,
        is_checked=False,
        settles=False,
        seed_s=15,
    ),
    Row(
        "6b", "FLUSHALL with rebuild_on_empty: alarm, rebuilt", rows_store.flushed_and_rebuilt, "flush to where it was"
    ),
    Row("7a", "broker stopped for 0.6 session timeouts", rows_bus.broker_stopped_shortly),
    Row("7b", "broker stopped for 3 session timeouts", rows_bus.broker_stopped_long),
    Row("8", "broker kill -9 and restart", rows_servers.kill_broker, needs_kafka=True, seed_s=14),
    Row("9a", "store connections cut, refused for 1.5 s", rows_network.store_cut),
    Row("9b", "store connections half-open for 1.5 s", rows_network.store_silent),
    Row("9c", "store 200 ms away", rows_network.store_slow),
    Row("9d", "store connections reset after n bytes, 8 times", rows_network.store_reset),
    Row("9e", "only the reply of the script lost, 4 times", rows_network.store_reply_lost),
    Row("9f", "broker connections cut, refused for 1.5 s", rows_network.broker_cut),
    Row("9g", "broker connections half-open for 1.5 s", rows_network.broker_silent),
    Row("9h", "broker 200 ms away", rows_network.broker_slow),
    Row("9i", "broker connections reset after n bytes, 4 times", rows_network.broker_reset),
    Row("9j", "only the reply of the broker lost, 4 times", rows_network.broker_reply_lost),
    Row(
        "10",
        "zombie: stopped, replaced, continued: writes nothing",
        rows_worker.zombie,
        "stop to takeover",
        needs_kafka=True,  # Tansu at times holds the next join for ever after a member was fenced
        seed_s=12,
    ),
    Row(
        "11",
        "rebalance storm: a member every 2 s, 60 s (first seed; then 12 s)",
        rows_worker.rebalance_storm,
        seed_s=30,
    ),
    Row("12", "repeated event ids, users in several partitions", rows_worker.duplicates_and_shared_users, APPLIED),
    Row(
        "13a",
        "topic deleted and made again under a worker: halt",
        rows_halt.topic_made_again_under_a_worker,
        HALTED,
        is_fresh=True,
        settles=False,
        seed_s=17,
    ),
    Row(
        "13b",
        "topic made again while the worker is down: halt",
        rows_halt.topic_made_again_while_down,
        "start to halt",
        is_fresh=True,
        settles=False,
        seed_s=15,
    ),
    Row(
        "13c",
        "log truncated past the watermark: halt",
        rows_halt.log_truncated,
        "start to halt",
        is_fresh=True,
        needs_kafka=True,
        settles=False,
        seed_s=15,
    ),
    Row(
        "14",
        "partitions added: users stay right",
        rows_bus.partitions_added,
        "added to applied from",
        is_fresh=True,
        needs_kafka=True,
        seed_s=20,
    ),
    Row("15", "store full (noeviction) for 1.5 s", rows_store.full),
    Row(
        "16", "dead letter refused by the broker: nothing dropped", rows_bus.letters_refused, APPLIED, needs_kafka=True
    ),
    Row("17", "worker's clock a day ahead, then behind", rows_worker.clock_moves, seed_s=25),
    Row(
        "18",
        "two workers, cluster of three: a primary killed, its replica behind",
        rows_cluster.kill_primary,
        "kill to all of it again",
        seed_s=25,
    ),
    Row("19", "worker's event loop blocked: ended, replaced", rows_worker.hung, "block to next commit", seed_s=18),
    Row("20", "embeddings of another D released, two workers on different ones", rows_worker.other_releases, APPLIED),
    Row("21", "aborted transactions in the log: not applied", rows_bus.aborted_transactions, APPLIED, needs_kafka=True),
)

OF_THE_BUS = frozenset(("1d", "7a", "7b", "9f", "9g", "9h", "9i", "9j", "11", "13a", "13b"))
"""Rows that another broker may answer otherwise: run on Apache Kafka, too, where there is one."""

MISSING: dict[str, str] = {}


def rows_on(broker: str, rows: Sequence[Row]) -> list[Row]:
    """Return those of some rows that are run on a broker, ``tansu`` or ``kafka``."""
    if broker == "kafka":
        return [row for row in rows if row.needs_kafka or row.number in OF_THE_BUS]
    return [row for row in rows if not row.needs_kafka]


def chosen_rows(wanted: str | None) -> list[Row]:
    """Return the rows named by number or family, comma-separated; all for None.

    Raises:
        ValueError: there is no such row.
    """
    if wanted is None:
        return list(ROWS)
    names = wanted.split(",")
    known = {row.number for row in ROWS} | {row.family for row in ROWS}
    if unknown := set(names) - known:
        raise ValueError(f"rows must be among {', '.join(row.number for row in ROWS)}, got {', '.join(unknown)}")
    return [row for row in ROWS if row.number in names or row.family in names]
