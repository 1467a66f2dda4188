"""``streamrec forget``."""

from services.admin.forget import forget_user
from services.cli.flags import SettingsArgument
from services.cli.show import note, say
from streams.store.clients import make_client


def forget(user: str, *, timeout_s: float = 30.0, settings: SettingsArgument) -> int:
    """Have a user forgotten; say what was removed and what cannot be; 1 when no worker has applied it in time.

    Args:
        user: whom; ratings that come later start a new ledger.
        timeout_s: how long to wait for the worker.
        settings: from flags, environment and files.
    """
    with make_client(settings) as client:
        done = forget_user(client, settings, user, timeout_s)
    ratings = settings.topic("ratings")
    places = ", ".join(f"{partition}:{offset}" for partition, offset in sorted(done.records.items()))
    if done.applied:
        say(f"removed: the ledger ({done.t} ratings of {done.items} items) and its part of the item statistics")
    say(f"removed: {done.letters} dead letters, when the broker compacts their topics")
    say(f"kept: the offsets up to which the user is forgotten, under a SHA-256 of the id (events at {places})")
    say(
        f"kept: the user's records in the log of {ratings}, and these events, as long as its retention keeps them; "
        "a replay or rebuild leaves them out"
    )
    requests, answers = settings.topic("requests"), settings.topic("recommendations")
    say(f"kept: the user's requests on {requests} and answers on {answers}, until their retention ends (1 day)")
    say("not touched: copies outside, as exports, backups of the store, and models trained on the log")
    if not done.applied:
        note(f"no worker has applied it within {timeout_s:g} s: the ledger goes as soon as one does")
    return int(not done.applied)
