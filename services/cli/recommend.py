"""``streamrec recommend`` and ``streamrec explain``."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

from cyclopts import Parameter

from schemas.codec import encode
from schemas.errors import RequestError, StreamrecError
from schemas.events import Item, Recommendation, RecommendationRequest, RecommendedItem
from services.admin.ask import Asker
from services.admin.catalogue import read_catalogue
from services.cli.flags import SettingsArgument
from services.cli.show import say, show_table, write_bytes
from streams.settings import Settings

_NOT_NEW = 0.9995
_SHOWN_BONUS = 0.005
_SHOWN_RATINGS = 2


def recommend(
    user: str,
    *,
    k: int = 10,
    policy: str | None = None,
    epsilon: float | None = None,
    explain: Annotated[bool, Parameter(negative="")] = False,
    timeout_s: float = 10.0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    settings: SettingsArgument,
) -> None:
    """Ask for recommendations for a user, and show them with titles and reasons.

    Args:
        user: whom for; a user nothing is known of gets what others liked.
        k: how many, 1 to 500.
        policy: which policy; the scorer's own choice by default.
        epsilon: how often to explore, 0 to 1.
        explain: have the explanation in the answer; the table always shows it.
        timeout_s: how long to wait for the answer.
        as_json: the answer as it was on the bus, instead of a table.
        settings: from flags, environment and files.
    """
    request = RecommendationRequest(
        request_id=uuid4().hex, user_id=user, k=k, policy=policy, epsilon=epsilon, explain=explain or not as_json
    )
    answer = _ask(request, settings, timeout_s, as_json=as_json)
    if not as_json:
        _show(answer, {item.item_id: item for item in read_catalogue(settings).items})


def explain(
    user: str,
    item: str,
    *,
    policy: str | None = None,
    timeout_s: float = 10.0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    settings: SettingsArgument,
) -> None:
    """Show the arithmetic of an item's score for a user, also of one the user rated already.

    Args:
        user: whom for.
        item: the item's id.
        policy: by which policy; the scorer's own choice by default.
        timeout_s: how long to wait for the answer.
        as_json: the answer as it was on the bus, instead of a table.
        settings: from flags, environment and files.
    """
    request = RecommendationRequest(
        request_id=uuid4().hex,
        user_id=user,
        k=1,
        policy=policy,
        candidates=(item,),
        exclude_seen=False,
        explain=True,
    )
    answer = _ask(request, settings, timeout_s, as_json=as_json)
    if not answer.items:
        raise StreamrecError(f"item must be one of the catalogue, got {item!r}")
    if not as_json:
        _show_arithmetic(answer, {item.item_id: item for item in read_catalogue(settings).items})


def _ask(request: RecommendationRequest, settings: Settings, timeout_s: float, *, as_json: bool) -> Recommendation:
    """Return the answer to a request, after writing it as it was on the bus where that was asked for.

    Raises:
        RequestError: it is an error.
    """
    with Asker(settings) as asker:
        answer = asker.ask(request, timeout_s)
    if as_json:
        write_bytes(encode(answer))
    if answer.error is not None:
        raise RequestError(
            answer.error.code, answer.error.message, request_id=answer.request_id, user_id=answer.user_id
        )
    return answer


def _show(answer: Recommendation, items: dict[str, Item]) -> None:
    details = details_of(answer)
    titles = {item_id: item.title or item_id for item_id, item in items.items()}
    rows = (
        (
            str(rank),
            *_describe(slot.item_id, items),
            f"{slot.score:.3f}",
            explain_slot(slot, details.get(slot.item_id), titles),
        )
        for rank, slot in enumerate(answer.items, 1)
    )
    title = f"for {answer.user_id}, by {answer.policy} with {answer.model or 'no embeddings'}"
    show_table(title, ("", "title", "genres", "year", "score", "why"), rows)
    say(f"{_freshness(answer)}; {answer.n_candidates} candidates; scored in {answer.timing.score_ms:.1f} ms")
    formula = (answer.explanation or {}).get("formula")
    if formula:
        say(formula)


def _show_arithmetic(answer: Recommendation, items: dict[str, Item]) -> None:
    (slot,) = answer.items
    detail, explanation = details_of(answer)[slot.item_id], answer.explanation or {}
    name, genres, year = _describe(slot.item_id, items)
    is_untried = bool(detail.get("untried"))
    rows = [
        ("", "prior", detail["prior"], "what others think" if detail["prior"] else "the notebook's rules have none"),
        ("+", "personal", detail["personal"], "what the user's own ratings add"),
        *([("", "general", detail["general"], "of that, what users in general have")] if "general" in detail else []),
        ("=", "relevance", detail["relevance"], ""),
        ("x", "novelty", detail["novelty"], "1: not rated by the user"),
        *([] if is_untried else [("+", "bonus", detail["bonus"], "what trying it is worth")]),
        *([("+", "lift", detail["lift"], "nobody rated it: above every item that was")] if "lift" in detail else []),
        ("=", "score", detail["score"], ""),
    ]
    title = f"{name} ({', '.join(part for part in (slot.item_id, genres, year) if part)}) for {answer.user_id}"
    show_table(
        title,
        ("", "part", "value", "what it is"),
        [(sign, part, repr(value), says) for sign, part, value, says in rows],
    )
    if ratings := detail.get("ratings"):
        show_table(
            "the user's ratings that weigh most",
            ("item", "title", "rating", "times", "share of personal"),
            [
                (
                    one["item_id"],
                    _describe(one["item_id"], items)[0],
                    f"{one['rating']:g}",
                    str(one["count"]),
                    f"{one['share']:+.4f}",
                )
                for one in ratings
            ],
        )
    draws = explanation.get("draws", {})
    coins = ", ".join(f"{coin:.4f}" for coin in draws.get("coins", []))
    drawn = f"; epsilon {draws['epsilon']:g}, coin {coins}" if coins else ""
    model = answer.model or "no embeddings"
    say(f"by {answer.policy} ({answer.policy_version}) with {model}, seed {answer.seed}{drawn}")
    say(_freshness(answer))


def _freshness(answer: Recommendation) -> str:
    state = answer.state
    known = (
        f"{state.t} rating{'s' * (state.t != 1)} known of this user" if state.t else "nothing known of this user yet"
    )
    return known + ("" if state.watermark_age_ms is None else f", state {state.watermark_age_ms:.0f} ms old")


def details_of(answer: Recommendation) -> dict[str, dict[str, Any]]:
    """Return what an explanation says of each item, by its id."""
    return {detail["item_id"]: detail for detail in (answer.explanation or {}).get("items", [])}


def _describe(item_id: str, items: dict[str, Item]) -> tuple[str, str, str]:
    item = items.get(item_id)
    if item is None:
        return item_id, "", ""
    return item.title or item_id, ", ".join(item.genres), "" if item.year is None else str(item.year)


def explain_slot(
    slot: RecommendedItem, detail: Mapping[str, Any] | None = None, titles: Mapping[str, str] | None = None
) -> str:
    """Return in words why an item is in its slot, from the parts of its score.

    Args:
        slot: the item with its parts.
        detail: what the explanation says of it; None without one.
        titles: titles by item id, for the user's ratings in ``detail``.

    >>> parts = {"relevance": 3.9, "novelty": 0.5, "bonus": 0.25}
    >>> explain_slot(RecommendedItem(item_id="a", score=2.2, propensity=1.0, explored=False, parts=parts))
    'relevance 3.90, times 0.50 as it was rated lately, plus 0.25 as little is known of it'
    """
    parts: dict[str, Any] = slot.parts
    words = []
    if parts.get("relevance") is not None:
        words.append(f"relevance {parts['relevance']:.2f}{_explain_relevance(detail, titles or {})}")
        if parts.get("distance") is not None:
            words.append(f"at distance {parts['distance']:.3g}")
    novelty = parts.get("novelty")
    if novelty is not None and novelty < _NOT_NEW:
        words.append(f"times {novelty:.2f} as it was rated lately")
    if parts.get("untried"):
        words.append("before all others as nobody rated it yet")
    bonus = parts.get("bonus")
    if bonus is not None and bonus >= _SHOWN_BONUS:
        words.append(f"plus {bonus:.2f} as little is known of it")
    if parts.get("fallback"):
        words.append(f"by {parts['fallback']}, as the user has rated too little")
    text = ", ".join(words)
    return f"drawn to explore; {text}".removesuffix("; ") if slot.explored else text


def _explain_relevance(detail: Mapping[str, Any] | None, titles: Mapping[str, str]) -> str:
    """Return what relevance is made of, in brackets; empty where nothing is added to what others think."""
    if not detail or not detail.get("personal"):
        return ""
    general, by_user = detail.get("general", 0.0), sorted(detail.get("ratings", []), key=lambda one: -abs(one["share"]))
    said = [f"{detail['prior']:.2f} by all"]
    if general:
        said.append(f"{general:+.2f} by users in general")
    if by_user or not general:
        names = [f"{one['rating']:.1f} for {titles.get(one['item_id'], one['item_id'])}" for one in by_user]
        own = f"{detail['personal'] - general:+.2f} by own ratings"
        said.append(f"{own}: {', '.join(names[:_SHOWN_RATINGS])}" if names else own)
    return f" ({', '.join(said)})"
