"""Small records: what was rated, asked and answered, as bytes."""

from schemas.codec import encode
from schemas.events import (
    ErrorView,
    RatingEvent,
    Recommendation,
    RecommendationRequest,
    RecommendedItem,
    StateView,
)
from services.loadtest.record import Record, RecordedRating, RecordedRequest


def rated(user_id, item_id="i", rating=4.0, **fields):
    return encode(RatingEvent(user_id=user_id, item_id=item_id, rating=rating, **fields))


def asked(request_id, user_id, **fields):
    return encode(RecommendationRequest(request_id=request_id, user_id=user_id, **fields))


def answered(request_id, user_id, t=0, cut=None, code=None, **fields):
    """An answer that saw ``t`` of the user and ``cut`` of the log."""
    applied = {str(partition): offset for partition, offset in (cut or {}).items()}
    state = StateView(t=t, applied_to=applied, statistics_to=applied)
    if code is not None:
        return Recommendation(
            request_id=request_id, user_id=user_id, state=state, error=ErrorView(code=code, message="why")
        )
    said = {"policy": "greedy_compat", "policy_version": "1", "model": "items@1", "seed": 7, "n_candidates": 9}
    item = RecommendedItem(item_id="i", score=0.5, propensity=1.0, explored=False)
    return Recommendation(request_id=request_id, user_id=user_id, state=state, **{**said, "items": [item], **fields})


def record_of(ratings=(), requests=(), answers=()):
    """A record of ratings (value, partition, offset), of requests' values, and of answers."""
    return Record(
        about={},
        ratings=[RecordedRating(seq, 0.0, *rating) for seq, rating in enumerate(ratings)],
        requests=[RecordedRequest(seq, 0.0, value) for seq, value in enumerate(requests)],
        answers=[encode(answer) for answer in answers],
    )
