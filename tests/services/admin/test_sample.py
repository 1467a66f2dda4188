"""How many records of each partition a sample has."""

from hypothesis import given
from hypothesis import strategies as st

from services.admin.sample import spread


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 50), max_size=8), st.integers(1, 200))
def test_shares_fill_the_sample_and_differ_by_one_but_for_short_partitions(lengths, size):
    shares = spread(lengths, size)
    assert sum(shares.values()) == min(size, sum(lengths.values()))
    assert all(0 <= shares[partition] <= length for partition, length in lengths.items())
    unfilled = [share for partition, share in shares.items() if share < lengths[partition]]
    assert not unfilled or max(shares.values()) - min(unfilled) <= 1
