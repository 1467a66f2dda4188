"""Small logs for the next-item protocol, and its oracle: ten lines straight from the definition."""

import math

import numpy as np

from recommender.ranking.log import RatingLog


def log_of(events, size, ratings=None):
    """[(user number, row), ...] in time order -> the log."""
    users, rows = (np.array(column, dtype=np.int64) for column in zip(*events, strict=True))
    given = np.full(len(events), 40_000) if ratings is None else np.array(ratings)
    return RatingLog(users, rows, given, tuple(f"u{user}" for user in range(users.max() + 1)), size)


def random_log(seed, *, events=300, users=12, size=30, repeats=False):
    rng = np.random.default_rng(seed)
    drawn, seen = [], set()
    while len(drawn) < events:
        pair = int(rng.integers(users)), int(rng.integers(size))
        if repeats or pair not in seen:
            drawn.append(pair)
            seen.add(pair)
        if len(seen) == users * size:
            break
    return log_of(drawn, size, rng.integers(1, 11, size=len(drawn)) * 5_000)


def oracle(log, cut, score):
    """score(history oldest first, row, counts) -> {event: (rank, the first ten rows)}, one event after the other."""
    history, counts, said = {}, [0] * log.size, {}
    for event, (user, row) in enumerate(zip(log.users.tolist(), log.rows.tolist(), strict=True)):
        seen = history.setdefault(user, [])
        if event >= cut and row not in seen:
            unseen = [i for i in range(log.size) if i not in seen]
            ranking = sorted(unseen, key=lambda i: (-score(seen, i, counts), i))
            said[event] = ranking.index(row), ranking[:10]
        seen.append(row)
        counts[row] += 1
    return said


def ndcg(ranks):
    return sum(1 / math.log2(rank + 2) for rank in ranks if rank < 10) / len(ranks)
