import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.rows import AllBut


@given(st.integers(0, 30), st.sets(st.integers(0, 29)), st.sets(st.integers(0, 29)))
def test_rows_but_a_few_are_as_the_array_of_them(size, left_out, wanted):
    rows = AllBut(size, np.array(sorted(row for row in left_out if row < size), dtype=np.int64))
    whole = np.array([row for row in range(size) if row not in left_out], dtype=np.int64)
    assert len(rows) == len(whole)
    assert np.asarray(rows).tolist() == whole.tolist()
    assert rows[np.arange(len(whole))].tolist() == whole.tolist()
    asked = np.array(sorted(row for row in wanted if row < size), dtype=np.int64)
    assert rows.leaves_out(asked).tolist() == [row in left_out for row in asked.tolist()]
    kept = asked[~rows.leaves_out(asked)][::-1]
    assert rows.positions_of(kept).tolist() == np.flatnonzero(np.isin(whole, kept))[::-1].tolist()
