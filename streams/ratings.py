"""The decoder of ratings that the settings ask for."""

from schemas.codec import RatingDecoder
from schemas.mapping import MappedRatingDecoder, parse_fields
from streams.settings import Settings


def make_rating_decoder(settings: Settings) -> RatingDecoder:
    """Return a decoder of the contract's ratings, or of your own events where ``rating_fields`` says what is where."""
    fields = parse_fields(settings.rating_fields)
    if fields:
        return MappedRatingDecoder(fields, settings.rating_min, settings.rating_max)
    return RatingDecoder(settings.rating_min, settings.rating_max)
