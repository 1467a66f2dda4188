"""The state that the other sides keep, as plain as it gets: JSON of what a user rated, and two numbers an item.

Less than ours: no item vectors, no tail of newest events, no position. Standard library only.
"""

import json

EMPTY_USER = '{"t": 0, "items": {}}'


def add_to_user(stored: str | bytes | None, item_id: str, rating: float) -> str:
    """Return a user's state with one more rating: count, number of the newest rating, and sum of an item.

    >>> add_to_user(None, "i", 4.0)
    '{"t": 1, "items": {"i": [1, 0, 4.0]}}'
    """
    user = json.loads(stored or EMPTY_USER)
    t, items = user["t"], user["items"]
    count, _, rating_sum = items.get(item_id, (0, 0, 0.0))
    items[item_id] = [count + 1, t, rating_sum + rating]
    user["t"] = t + 1
    return json.dumps(user)


def add_to_item(stored: str | bytes | None, rating: float) -> str:
    """Return an item's statistics with one more rating.

    >>> add_to_item("1 4.0", 3.0)
    '2 7.0'
    """
    count, rating_sum = (stored.decode() if isinstance(stored, bytes) else stored or "0 0").split()
    return f"{int(count) + 1} {float(rating_sum) + rating}"
