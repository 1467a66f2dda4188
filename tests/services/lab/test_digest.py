import hashlib

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from services.lab.digest import expected_digest

RATINGS = st.lists(
    st.tuples(st.sampled_from(["u", "v", "ü"]), st.sampled_from(["a", "b", "é", "10", "9"]), st.floats(0.5, 5.0)),
    max_size=30,
)


def sha(line: str) -> int:
    return int(hashlib.sha256(line.encode()).hexdigest(), 16)


def test_empty_log_has_zeros():
    digest = expected_digest([])
    assert (digest.state, digest.statistics, digest.users, digest.events) == ("0" * 64, "0" * 64, 0, 0)


def test_lines_are_those_of_the_docstring():
    # u rates a (t 0), b (t 1), a again (t 2); v rates b (t 0).
    digest = expected_digest([("u", "a", 4.0), ("v", "b", 0.5), ("u", "b", 3.5), ("u", "a", 5.0)])
    state = sha("u\t3\ta:2:2:90000,b:1:1:35000") + sha("v\t1\tb:1:0:5000")
    statistics = sha("a\t2\t90000") + sha("b\t2\t40000")
    assert digest.state == f"{state % 2**256:064x}"
    assert digest.statistics == f"{statistics % 2**256:064x}"
    assert (digest.users, digest.events) == (2, 4)


def test_items_are_sorted_by_the_bytes_of_their_ids():
    # UTF-8 bytes: "10" (31 30) < "9" (39) < "é" (c3 a9).
    digest = expected_digest([("u", "é", 1.0), ("u", "9", 1.0), ("u", "10", 1.0)])
    line = "u\t3\t10:1:2:10000,9:1:1:10000,é:1:0:10000"
    assert digest.state == hashlib.sha256(line.encode()).hexdigest()


def test_ratings_are_rounded_half_to_even():
    # Half a unit goes to 0, two and a half go to 2; both products are exact in float64.
    digest = expected_digest([("u", "a", 0.00005), ("u", "a", 0.00025)])
    assert digest.statistics == hashlib.sha256(b"a\t2\t2").hexdigest()


def test_frame_and_tuples_agree():
    frame = pd.DataFrame({"item_id": ["a", "b"], "rating": [4.0, 2.0], "user_id": ["u", "u"], "ts_ms": [1, 2]})
    assert expected_digest(frame) == expected_digest([("u", "a", 4.0), ("u", "b", 2.0)])


@given(RATINGS)
def test_interleaving_of_users_does_not_matter(ratings):
    by_user = sorted(ratings, key=lambda rating: rating[0])
    assert expected_digest(by_user) == expected_digest(ratings)


@given(RATINGS, st.data())
def test_one_rating_more_changes_both_digests(ratings, data):
    place = data.draw(st.integers(0, len(ratings)))
    longer = [*ratings[:place], ("u", "a", 3.0), *ratings[place:]]
    before, after = expected_digest(ratings), expected_digest(longer)
    assert before.state != after.state
    assert before.statistics != after.statistics


@given(RATINGS)
def test_a_plain_recount_agrees(ratings):
    lines = []
    for user in {user for user, _, _ in ratings}:
        own = [(item, rating) for who, item, rating in ratings if who == user]
        parts = []
        for item in sorted({item for item, _ in own}, key=str.encode):
            times = [t for t, (rated, _) in enumerate(own) if rated == item]
            total = sum(round(own[t][1] * 10_000) for t in times)
            parts.append(f"{item}:{len(times)}:{times[-1]}:{total}")
        lines.append(f"{user}\t{len(own)}\t{','.join(parts)}")
    assert expected_digest(ratings).state == f"{sum(map(sha, lines)) % 2**256:064x}"
