"""A worker as it is usually written, to show what the crash tests can see.

It begins where the group's committed offset says instead of at the watermark, and its commits do not ask whether the
watermark is where they expect it.
"""

from hashlib import sha1

from services.cli.main import main
from streams.store.scripts import COMMIT
from streams.worker.claim import Claimer
from streams.worker.session import Session

GUARD = "if next_offset ~= ARGV[4] or fence ~= ARGV[2] then return {'OFFSET', next_offset} end\n"

_claim = Claimer.claim


async def claim_at_committed(claimer: Claimer, ends) -> Session:
    session = await _claim(claimer, ends)
    session.position = await ends.committed() or 0
    session.next_offsets = [session.position] * len(session.next_offsets)
    return session


if __name__ == "__main__":
    assert GUARD in COMMIT.body
    COMMIT.body = COMMIT.body.replace(GUARD, "")
    COMMIT.sha = sha1(COMMIT.body.encode()).hexdigest()
    Claimer.claim = claim_at_committed
    main()
