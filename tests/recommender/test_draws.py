import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.draws import BatchDraws, Draws
from recommender.hashing import hash_ids


def test_same_key_and_slot_draw_the_same_in_any_order():
    one, other = Draws(7, "u", "r"), Draws(7, "u", "r")
    forward = [one.uniform(slot) for slot in range(5)]
    backward = [other.uniform(slot) for slot in reversed(range(5))]
    assert forward == backward[::-1]


def test_every_part_of_the_key_changes_the_draw():
    keys = [(7, "u", "r"), (8, "u", "r"), (7, "v", "r"), (7, "u", "s"), (-7, "u", "r")]
    words = {Draws(*key).word(slot, stream) for key in keys for slot in (0, 1) for stream in (0, 1)}
    assert len(words) == len(keys) * 4


def test_parts_of_the_key_do_not_run_into_one_another():
    assert Draws(1, "a/b", "c").word(0, 0) != Draws(1, "a", "b/c").word(0, 0)
    assert Draws(1, "1/a", "c").word(0, 0) != Draws(11, "/a", "c").word(0, 0)


def test_uniform_draws_fill_the_unit_interval_evenly():
    # n = 20,000 in 10 cells, p = 0.1: five standard deviations are 5 sqrt(20000 * 0.09) = 212.
    values = np.array([Draws(7, f"u{i % 100}", f"r{i // 100}").uniform(i % 3) for i in range(20_000)])
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert np.abs(np.histogram(values, bins=10, range=(0, 1))[0] - 2000).max() < 212


def test_coin_and_choice_of_a_slot_are_unrelated():
    # Correlation of 5,000 independent pairs has standard deviation 1/sqrt(5000); five of them are 0.071.
    draws = [Draws(7, "u", f"r{i}") for i in range(5000)]
    pairs = np.array([(draw.uniform(0), draw.integer(0, 1000)) for draw in draws])
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.071


@given(n=st.integers(1, 10**9), slot=st.integers(0, 500))
def test_integer_lies_below_n(n, slot):
    assert 0 <= Draws(7, "u", "r").integer(slot, n) < n


def test_integer_refuses_an_empty_range():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        Draws(7, "u", "r").integer(0, 0)


def test_tie_key_of_an_item_depends_on_nothing_but_the_item_and_the_request():
    hashes = hash_ids(f"i{i}" for i in range(50))
    draws = Draws(7, "u", "r")
    together = draws.tie_keys(hashes)
    assert together[::-1].tolist() == draws.tie_keys(hashes[::-1]).tolist()
    assert draws.tie_keys(hashes[17:18])[0] == together[17]
    assert len(set(together.tolist())) == 50
    assert together.tolist() != Draws(7, "u", "s").tie_keys(hashes).tolist()


def test_every_item_comes_first_among_ties_equally_often():
    # n = 6,000, p = 1/6: five standard deviations are 5 sqrt(6000 * 5/36) = 144.
    hashes = hash_ids("abcdef")
    firsts = [int(np.argmin(Draws(7, "u", f"r{i}").tie_keys(hashes))) for i in range(6000)]
    assert np.abs(np.bincount(firsts, minlength=6) - 1000).max() < 144


def test_draws_of_many_are_those_of_each():
    users = ["a", "policy/ü", "u" * 100]
    many = BatchDraws(9, users, [f"9/{user}/" for user in users])
    each = [Draws(9, user, f"9/{user}/31") for user in users]
    for slot, stream in ((0, 0), (3, 1)):
        assert many.uniforms(range(3), "31", slot, stream).tolist() == [draws.uniform(slot, stream) for draws in each]
        ns = [1, 7, 10**6]
        expected = [draws.integer(slot, n, stream) for draws, n in zip(each, ns, strict=True)]
        assert many.integers(range(3), "31", slot, ns, stream) == expected
    assert many.uniforms([2, 0], "31", 0).tolist() == [each[2].uniform(0), each[0].uniform(0)]


def test_normals_are_those_of_the_request_and_of_no_other():
    draws = Draws(7, "u", "r").normals((2000, 2))
    assert draws.tolist() == Draws(7, "u", "r").normals((2000, 2)).tolist()
    assert draws.tolist() != Draws(7, "u", "s").normals((2000, 2)).tolist()
    # 4,000 numbers: five standard errors of the mean are 0.08, of the variance 0.112, of the correlation 0.112.
    assert abs(draws.mean()) < 0.08
    assert abs(draws.var() - 1.0) < 0.112
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.112
