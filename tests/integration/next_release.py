"""A command of streamrec as the next two releases have it: one `reads` the next layout of a ledger, one `writes` it."""

import sys

from recommender.ledger.batch import FoldedBatch, LedgerWrite, StoredLedger, fold_batch
from recommender.ledger.layout import PREFIX_BYTES, pack
from services.cli.main import main
from streams.store import writer
from streams.worker import apply, idle
from tests.next_layout import NEXT, from_next, learn_next, to_next

WHOLE = 1 << 30


def fold_into_next(batch, stored, *how):
    """Fold as the product does, out of either layout and into the next one; every ledger was read whole."""
    assert all(known is None or known.is_whole for known in stored)
    present = [known and StoredLedger(_present(known.value), is_whole=True) for known in stored]
    folded = fold_batch(batch, present, *how)
    writes = [
        LedgerWrite(
            stored[user].value[:PREFIX_BYTES] if stored[user] else b"",
            is_append=False,
            head=to_next(write.head) if write.head else b"",
            tail=b"",
        )
        for user, write in zip(folded.users, folded.writes, strict=True)
    ]
    return FoldedBatch(folded.users, writes, folded.applied)


def _present(value):
    return from_next(value) if value[:2] == NEXT else value


def write_next():
    writer.WHOLE_BYTES = WHOLE
    apply.fold_batch = fold_into_next
    idle.pack = lambda ledger: to_next(pack(ledger))


if __name__ == "__main__":
    learn_next()
    if sys.argv.pop(1) == "writes":
        write_next()
    main()
