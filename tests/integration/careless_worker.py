"""A worker as it is usually written, to show what the crash tests can see.

It begins where the group's committed offset says instead of at the watermark, and its commits do not ask whether the
watermark is where they expect it.
"""

from services.cli.main import main
from streams.store.scripts import COMMIT
from streams.worker.claim import Claimer
from streams.worker.session import Session
from tests.streams.store.mutants import NO_FENCE, NO_OFFSET, without

_claim = Claimer.claim


async def claim_at_committed(claimer: Claimer, ends) -> Session:
    session = await _claim(claimer, ends)
    session.position = await ends.committed() or 0
    session.next_offsets = [session.position] * len(session.next_offsets)
    return session


if __name__ == "__main__":
    mutant = without(COMMIT, *NO_OFFSET, NO_FENCE[1])
    COMMIT.body, COMMIT.sha = mutant.body, mutant.sha
    Claimer.claim = claim_at_committed
    main()
