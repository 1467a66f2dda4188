import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.ranking.log import RatingLog
from recommender.rl.frames import batches_by_user, make_frames, pad_histories, split_users

SCALE = (0.5, 5.0)


def log_of(users, rows, ratings=None):
    given_ratings = [4.0] * len(users) if ratings is None else ratings
    return RatingLog(
        np.array(users, dtype=np.int64),
        np.array(rows, dtype=np.int64),
        np.rint(np.array(given_ratings) * 10_000).astype(np.int64),
        tuple(str(user) for user in range(5)),
        20,
    )


def test_a_frame_is_what_a_user_rated_in_a_row_and_what_came_next():
    log = log_of([1, 0, 1, 1, 0, 1], [3, 9, 4, 5, 8, 6], [0.5, 1.0, 5.0, 2.5, 5.0, 3.0])
    frames = make_frames(log, 2, SCALE)
    assert frames.rows.tolist() == [[3, 4, 5], [4, 5, 6]]
    assert frames.rewards.tolist() == [[-4.0, 5.0, 0.0], [5.0, 0.0, 1.0]]
    assert frames.users.tolist() == [1, 1]
    assert frames.done.tolist() == [False, True]
    assert frames.events.tolist() == [3, 5]


def test_a_user_with_as_many_events_as_a_state_gives_no_frame():
    assert len(make_frames(log_of([0, 0, 1], [1, 2, 3]), 2, SCALE)) == 0


def test_states_of_fewer_events_are_padded_at_their_start():
    log = log_of([1, 0, 1, 1], [3, 9, 4, 5], [0.5, 1.0, 5.0, 2.5])
    frames = make_frames(log, 3, SCALE, least=1)
    assert frames.rows.tolist() == [[-1, -1, 3, 4], [-1, 3, 4, 5]]
    assert frames.rewards.tolist() == [[0.0, 0.0, -4.0, 5.0], [0.0, -4.0, 5.0, 0.0]]
    assert frames.done.tolist() == [False, True]
    assert frames.events.tolist() == [2, 3]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 19)), max_size=60),
    st.integers(1, 4).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))),
)
def test_frames_are_those_of_a_plain_loop(events, sizes):
    size, least = sizes
    log = log_of([user for user, _ in events], [row for _, row in events])
    expected = []
    for user in range(5):
        own = [row for who, row in events if who == user]
        windows = [([-1] * size + own)[end : end + size + 1] for end in range(least, len(own))]
        expected += [(user, window, window is windows[-1]) for window in windows]
    frames = make_frames(log, size, SCALE, least)
    found = list(zip(frames.users.tolist(), frames.rows.tolist(), frames.done.tolist(), strict=True))
    assert found == expected


def test_held_out_users_are_whole_and_the_seed_tells_them():
    frames = make_frames(log_of([0, 1, 2, 3, 4] * 6, list(range(20)) + list(range(10))), 3, SCALE)
    train, held_out = split_users(frames, 0.4, seed=1)
    assert len(np.unique(held_out.users)) == 2
    assert not set(train.users.tolist()) & set(held_out.users.tolist())
    assert len(train) + len(held_out) == len(frames)
    assert (split_users(frames, 0.4, seed=1)[1].events == held_out.events).all()
    assert any(set(split_users(frames, 0.4, seed)[1].users) != set(held_out.users) for seed in range(2, 9))


def test_batches_hold_whole_users_and_every_frame_once():
    frames = make_frames(log_of([0, 1, 2, 3, 4] * 6, list(range(20)) + list(range(10))), 3, SCALE)
    batches = list(batches_by_user(frames, 2, np.random.default_rng(0)))
    assert [len(np.unique(frames.users[places])) for places in batches] == [2, 2, 1]
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(frames)))


def test_histories_are_padded_at_their_ends():
    padded = pad_histories(log_of([1, 0, 1], [3, 9, 4], [0.5, 1.0, 5.0]), np.array([0, 1]), SCALE)
    assert padded.rows.tolist() == [[9, 0], [3, 4]]
    assert padded.rewards.tolist() == [[-3.0, 0.0], [-4.0, 5.0]]
    assert padded.lengths.tolist() == [1, 2]


def test_values_out_of_range_are_refused():
    frames = make_frames(log_of([0, 0], [1, 2]), 1, SCALE)
    with pytest.raises(ValueError, match="frame_size must be at least 1, got 0"):
        make_frames(log_of([], []), 0, SCALE)
    with pytest.raises(ValueError, match=r"least must be in 1\.\.2, got 3"):
        make_frames(log_of([], []), 2, SCALE, 3)
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\), got 1.0"):
        split_users(frames, 1.0, 0)
    with pytest.raises(ValueError, match="users of a batch must be at least 1, got 0"):
        next(batches_by_user(frames, 0, np.random.default_rng(0)))
