"""``streamrec rate``."""

from services.admin.rate import send_rating
from services.cli.flags import SettingsArgument
from services.cli.show import say


def rate(user: str, item: str, rating: float, *, settings: SettingsArgument) -> None:
    """Send one rating and say where it lies in the log.

    Args:
        user: who rates.
        item: what is rated; the catalogue need not know it.
        rating: on the scale of the settings.
        settings: from flags, environment and files.
    """
    place = send_rating(settings, user, item, rating)
    say(f"{place.topic} partition {place.partition} offset {place.offset}")
