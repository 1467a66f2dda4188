import ast
from pathlib import Path

import pytest

from tests.integration import any_client
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

ITEMS = {
    "alien": {"title": "Alien", "genres": ["Horror", "Sci-Fi"], "year": 1979, "attributes": {"seats": 2}},
    "brazil": {"title": "Brazil", "genres": ["Sci-Fi", "Comedy"], "year": 1985},
    "casino": {"title": "Casino", "genres": ["Crime"], "year": 1995, "attributes": {"seats": 3}},
    "dune": {"title": "Dune", "genres": ["Sci-Fi"], "year": 2021},
    "emma": {"title": "Emma", "genres": ["Comedy"], "year": 2020},
}
RATINGS = [
    ("ann", "alien", 5),
    ("bob", "alien", 4),
    ("cat", "brazil", 4),
    ("ann", "brazil", 3),
    ("bob", "casino", 1),
    ("cat", "casino", 2),
    ("cat", "dune", 5),
]
ANSWER_FIELDS = {
    *("v", "request_id", "user_id", "policy", "policy_version", "model", "items", "slate_propensity"),
    *("propensity_kind", "epsilon", "n_candidates", "seed", "state", "timing", "error", "ts_ms"),
}
STATE_FIELDS = {"t", "partition", "offset", "applied_to", "statistics_to", "watermark_age_ms"}


@pytest.fixture(scope="module")
def world(client):
    """The answers of a system that knows five items and seven ratings, taken before any test adds to them."""
    for item_id, fields in ITEMS.items():
        client.describe(item_id, **fields)
    places = [client.rate(*rating) for rating in RATINGS]
    wait_until(lambda: len(client.ask("nobody")["items"]) == len(ITEMS), message="every item is in the catalogue")
    for place in places:
        assert client.ask("nobody", min_position=place)["error"] is None
    return {
        "nobody": client.ask("nobody"),
        "ann": client.ask("ann"),
        "ann, all": client.ask("ann", exclude_seen=False, explain=True),
        "some": client.ask("nobody", candidates=["casino", "no such item", "emma", "alien", "casino"], k=2),
        "places": places,
    }


def ids(answer):
    assert answer["error"] is None
    return [slot["item_id"] for slot in answer["items"]]


def test_the_client_has_no_code_of_ours():
    tree = ast.parse(Path(any_client.__file__).read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"kafka", "json", "uuid"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def test_an_answer_has_every_field_of_the_contract(world):
    answer = world["ann"]
    assert answer.keys() >= ANSWER_FIELDS
    assert answer["state"].keys() >= STATE_FIELDS
    assert answer["timing"].keys() >= {"queue_ms", "score_ms"}
    assert (answer["v"], answer["user_id"], answer["error"], answer["policy"]) == (1, "ann", None, "greedy")
    for slot in answer["items"]:
        assert slot.keys() >= {"item_id", "score", "propensity", "explored", "parts"}
        assert slot["parts"].keys() >= {"relevance", "novelty", "bonus"}
        assert (slot["propensity"], slot["explored"]) == (1.0, False)
    assert (answer["slate_propensity"], answer["propensity_kind"], answer["n_candidates"]) == (1.0, "exact", 3)


def test_items_are_ranked_by_their_mean_shrunk_to_the_mean_of_all(world):
    """Seven ratings sum to 24: m = 24/7, and m_i = (sum_i + 5 m)/(count_i + 5).

    alien (9 + 120/7)/7 = 183/49, dune (5 + 120/7)/6 = 155/42, brazil (7 + 120/7)/7 = 169/49, emma m = 168/49,
    casino (3 + 120/7)/7 = 141/49.
    """
    answer = world["nobody"]
    assert ids(answer) == ["alien", "dune", "brazil", "emma", "casino"]
    scores = [slot["score"] for slot in answer["items"]]
    assert scores == pytest.approx([183 / 49, 155 / 42, 169 / 49, 168 / 49, 141 / 49], abs=1e-12)


def test_an_unknown_user_gets_that_slate_at_t_0(world):
    state = world["nobody"]["state"]
    assert (state["t"], state["partition"], state["offset"]) == (0, None, None)


def test_an_answer_says_which_rating_of_the_user_it_saw_last(world):
    state, newest = world["ann"]["state"], world["places"][3]
    assert (state["t"], state["partition"], state["offset"]) == (2, newest["partition"], newest["offset"])
    assert state["applied_to"][str(newest["partition"])] > newest["offset"]
    assert state["statistics_to"][str(newest["partition"])] > newest["offset"]


def test_seen_items_are_left_out_unless_they_are_asked_for(world):
    assert ids(world["ann"]) == ["dune", "emma", "casino"]
    assert sorted(ids(world["ann, all"])) == sorted(ITEMS)
    assert world["ann, all"]["explanation"]["t"] == 2


def test_only_candidates_are_ranked_and_unknown_ones_are_no_fault(world):
    assert ids(world["some"]) == ["alien", "emma"]
    assert world["some"]["n_candidates"] == 3


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"genres": {"any": ["Sci-Fi"]}}, {"alien", "brazil", "dune"}),
        ({"genres": {"all": ["Sci-Fi", "Comedy"]}}, {"brazil"}),
        ({"genres": {"none": ["Sci-Fi", "Crime"]}}, {"emma"}),
        ({"year": {"min": 1985, "max": 2020}}, {"brazil", "casino", "emma"}),
        ({"attributes": {"seats": 2}}, {"alien"}),
        ({"attributes": {"seats": [2, 3]}}, {"alien", "casino"}),
        ({"genres": {"any": ["Sci-Fi"]}, "year": {"min": 2000}}, {"dune"}),
    ],
)
def test_filters_are_honoured(world, client, filters, left):
    assert set(ids(client.ask("nobody", candidates=list(ITEMS), filters=filters))) == left


def test_excluded_items_are_left_out(world, client):
    assert set(ids(client.ask("nobody", candidates=list(ITEMS), exclude=["alien", "emma", "no such item"]))) == {
        "brazil",
        "casino",
        "dune",
    }


def test_a_request_sees_the_rating_it_waits_for(world, client):
    for t, item_id in enumerate(ITEMS, 1):
        answer = client.ask("zoe", min_position=client.rate("zoe", item_id, 3), candidates=list(ITEMS))
        assert answer["state"]["t"] == t
        assert item_id not in ids(answer)
        assert client.ask("zoe", min_t=t)["state"]["t"] == t


def test_a_withdrawn_item_is_not_recommended(world, client):
    client.describe("gone", title="Gone")
    wait_until(lambda: "gone" in ids(client.ask("nobody")), message="the item is in the catalogue")
    client.withdraw("gone")
    wait_until(lambda: "gone" not in ids(client.ask("nobody")), message="the item is withdrawn")
    assert ids(client.ask("nobody", candidates=["gone", "emma"])) == ["emma"]


def test_an_item_rated_before_it_is_described_is_recommended_with_those_ratings(world, client):
    place = client.rate("dan", "early", 5)
    assert ids(client.ask("nobody", candidates=["early"], min_position=place)) == []
    client.describe("early", title="Early")
    wait_until(lambda: ids(client.ask("nobody", candidates=["early"])), message="the item is in the catalogue")
    assert ids(client.ask("nobody", candidates=["emma", "early"])) == ["early", "emma"]
    assert ids(client.ask("dan", candidates=["emma", "early"])) == ["emma"]


def test_neither_headers_nor_keys_matter(world, client):
    value = b'{"user_id": "eve", "item_id": "emma", "rating": 2.5, "unheard": {"of": []}}'
    place = client.send("ratings", b"not eve", value, headers=[("v", b"9"), ("streamrec-reason", b"\xff")])
    request = b'{"request_id": "with headers", "user_id": "eve", "deadline_ms": 20000, "min_position": %s}'
    at = b'{"partition": %d, "offset": %d}' % (place["partition"], place["offset"])
    client.send("requests", b"\x00\xff", request % at, headers=[("traceparent", b"00-1-2-3")])
    answer = client.answer("with headers")
    assert (answer["user_id"], answer["state"]["t"]) == ("eve", 1)
    assert client.answer_keys["with headers"] == b"\x00\xff"


def test_ids_written_as_integers_are_those_written_as_text(world, client):
    client.rate(7, "emma", 2)
    answer = client.ask("7", min_position=client.rate("7", 12, 2))
    assert answer["state"]["t"] == 2
    assert client.ask(7)["user_id"] == "7"


def test_a_repeat_of_an_event_id_counts_once_and_lets_a_request_pass(world, client):
    client.rate("fay", "emma", 2, event_id="once")
    answer = client.ask("fay", min_position=client.rate("fay", "emma", 2, event_id="once"))
    assert answer["state"]["t"] == 1
