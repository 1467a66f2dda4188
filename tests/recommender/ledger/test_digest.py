"""The digest of a state."""

from hashlib import sha256

import numpy as np
import pytest

from recommender.ledger import ENTRY, EVENT, LastEvent, Ledger
from recommender.ledger.digest import digest, user_line

LEDGER = Ledger(
    rev=1,
    t=3,
    last=LastEvent(0, 0, 0),
    embedding_id=bytes(8),
    unembedded=0,
    mean=np.zeros(0),
    base=np.array([(7, 1, 0, 30000)], ENTRY),
    tail=np.array([(9, 45000, 0), (7, 5000, 0)], EVENT),
)


def test_user_line_is_sorted_by_item_id_not_by_hash():
    assert user_line("u", LEDGER, {7: "b", 9: "a"}) == "u\t3\ta:1:1:45000,b:2:2:35000"


def test_unknown_item_hash_is_an_error():
    with pytest.raises(KeyError):
        user_line("u", LEDGER, {7: "b"})


def test_digest_is_the_sum_of_sha256_whatever_the_order():
    both = sum(int.from_bytes(sha256(line).digest()) for line in (b"a", b"b")) % 2**256
    assert digest(["a", "b"]) == digest(["b", "a"]) == f"{both:064x}"


def test_a_line_twice_does_not_cancel_out():
    assert digest(["a", "a"]) != digest([])
