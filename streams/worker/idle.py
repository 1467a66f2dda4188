"""Gives memory back that idle users' ledgers hold, through the guarded commit, a little at a time."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
from redis.exceptions import ResponseError

from recommender.ledger import compact, pack, unpack
from recommender.ledger.batch import LedgerWrite
from recommender.ledger.layout import PREFIX_BYTES
from schemas.errors import LedgerError, RevisionConflict, StoreUnavailable
from streams.store.writer import Claim, IdleLedger, StateWriter
from streams.worker import metrics
from streams.worker.session import Session

log = structlog.get_logger(__name__)

FOLDING_PARTITION = 0
USERS_A_STEP = 512
BYTES_A_STEP = 1024 * 1024
STEP_PAUSE_S = 0.25


@dataclass(slots=True)
class _Walk:
    """How far a walk over a shard is: SCAN's cursor, and users it named that were not looked at."""

    shard: int = 0
    cursor: int = 0
    users: list[str] = field(default_factory=list)


class IdleFolder:
    """Walks over the users of every shard, for ever, in small steps, and rewrites ledgers that become smaller.

    Only the runner of partition 0 does it, so one worker at a time; where two do, for a while, the guards of the commit
    let each write once: the fence, the watermark, which must be where the session has it, and the ledger's revision.

    Args:
        writer: the state.
        idle_s: how long nobody may have read or written a ledger.
        clock: seconds that only grow.
    """

    def __init__(self, writer: StateWriter, idle_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._writer = writer
        self._idle_s = idle_s
        self._clock = clock
        self._next_step = 0.0
        self._walk = _Walk()
        self._is_refused = False

    async def step(self, session: Session) -> None:
        """Look at some users, unless the step before was less than :data:`STEP_PAUSE_S` ago.

        Raises:
            Fenced: give the partition up.
            OffsetMoved, GenerationChanged: begin a new session.
        """
        if session.partition != FOLDING_PARTITION or self._is_refused or self._clock() < self._next_step:
            return
        self._next_step = self._clock() + STEP_PAUSE_S
        try:
            await self._fold_some(session)
        except StoreUnavailable as error:
            # Done or not, the state says the same and the revision differs, so there is nothing to find out.
            log.info("ledgers.unfolded", partition=session.partition, error=str(error))
        except ResponseError as error:
            self._is_refused = True
            log.warning("ledgers.unfolded", partition=session.partition, error=str(error), note="not tried again")

    async def _fold_some(self, session: Session) -> None:
        walk = self._walk
        shard = walk.shard % len(session.claims)
        claim = session.claims[shard]
        if not walk.users:
            walk.cursor, walk.users = await self._writer.scan_users(claim, walk.cursor, USERS_A_STEP)
        if walk.users:
            users = walk.users[:USERS_A_STEP]
            looked, found = await self._writer.read_idle(claim, users, self._idle_s, BYTES_A_STEP)
            await self._fold(claim, session.next_offsets[shard], found)
            walk.users = walk.users[looked:]
        if not walk.users and walk.cursor == 0:
            walk.shard = shard + 1

    async def _fold(self, claim: Claim, next_offset: int, found: list[IdleLedger]) -> None:
        """Write what became smaller; a ledger that was written meanwhile stays as it is."""
        smaller = [(idle, value) for idle in found if (value := _smaller(idle)) is not None]
        while smaller:
            user_ids = [idle.user_id for idle, _ in smaller]
            writes = [LedgerWrite(idle.value[:PREFIX_BYTES], False, value, b"") for idle, value in smaller]
            try:
                await self._writer.commit(claim, next_offset, next_offset, user_ids, writes)
            except RevisionConflict as conflict:
                changed = set(conflict.indexes)
                smaller = [each for i, each in enumerate(smaller) if i not in changed]
            else:
                saved = sum(len(idle.value) - len(value) for idle, value in smaller)
                metrics.LEDGERS_FOLDED.inc(len(smaller))
                log.info("ledgers.folded", users=len(smaller), shorter_by_bytes=saved)
                return


def _smaller(idle: IdleLedger) -> bytes | None:
    """Return what to write instead of a ledger, None when that takes as much memory or the ledger cannot be read."""
    try:
        ledger = unpack(idle.value)
    except LedgerError as error:
        log.warning("ledger.unreadable", error=str(error))
        return None
    folded = compact(ledger)
    if folded is ledger and not idle.is_loose:
        return None
    return pack(replace(folded, rev=ledger.rev + 1 + secrets.randbits(32)))
