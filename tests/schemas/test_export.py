"""The exported contract: what it says of samples, of what we write, and of what we refuse."""

import json
import math
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.codec import RatingDecoder, decode_item, decode_release, decode_request, encode
from schemas.errors import EventError, RequestError
from schemas.events import (
    ERROR_CODES,
    ErrorView,
    Item,
    ModelRelease,
    RatingEvent,
    Recommendation,
    RecommendationRequest,
    RecommendedItem,
    StateView,
    Timing,
)
from schemas.export import export_schemas, make_documents
from schemas.topics import TOPICS

COMMITTED = Path(__file__).parents[2] / "docs" / "schemas"
DOCUMENTS = make_documents()
ASYNCAPI = DOCUMENTS["asyncapi.json"]
SCHEMAS = {name.removesuffix(".schema.json"): DOCUMENTS[name] for name in DOCUMENTS if name.endswith(".schema.json")}
VALIDATORS = {name: Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
DECODERS = {
    "rating": RatingDecoder(0.5, 5.0).decode,
    "request": decode_request,
    "item": decode_item,
    "model": decode_release,
}

SAMPLES = {
    "rating": [
        '{"v":1,"user_id":"u","item_id":"i","rating":4.0,"event_id":null,"ts_ms":null,"request_id":null}',
        '{"user_id":7,"item_id":50,"rating":5,"device":"tv"}',
    ],
    "request": [
        (
            '{"v":1,"request_id":"..","user_id":"u","k":10,"policy":null,"epsilon":null,"candidates":null,'
            '"exclude_seen":true,"exclude":[],"filters":{},"explain":false,"min_t":null,"min_position":null,'
            '"deadline_ms":5000,"ts_ms":null}'
        ),
        (
            '{"request_id":"r","user_id":1,"filters":{"genres":{"any":["a"],"all":[],"none":[]},"year":{"min":1990,"max":null},'
            '"attributes":{"hd":true,"lang":["en","de"]}},"min_position":{"partition":0,"offset":88}}'
        ),
    ],
    "item": [
        '{"v":1,"item_id":"i","title":"..","genres":[],"year":null,"language":null,"rating":null,"attributes":{}}',
        '{"item_id":3}',
    ],
    "model": [
        '{"v":1,"name":"..","version":"..","kind":"embedding","uri":"..","sha256":"..","metrics":{},"ts_ms":5}',
        '{"name":"n","version":"1","kind":"policy","uri":"s3://b/k","sha256":"0"}',
    ],
    "recommendation": [
        (
            '{"v":1,"request_id":"..","user_id":"u","policy":"epsilon_greedy","policy_version":"..","model":"name@version",'
            '"items":[{"item_id":"i","score":3.9,"propensity":0.97,"explored":false,'
            '"parts":{"relevance":3.9,"novelty":1.0,"bonus":0.0}}],'
            '"slate_propensity":0.93,"propensity_kind":"exact","epsilon":0.1,"n_candidates":1620,"seed":7,'
            '"state":{"t":12,"partition":0,"offset":88,"applied_to":{"0":91},"statistics_to":{"0":88},"watermark_age_ms":9},'
            '"timing":{"queue_ms":1.1,"score_ms":0.4},"explanation":null,"error":null,"ts_ms":5}'
        ),
    ],
    "dead-letter-headers": [
        (
            '{"streamrec-reason":"not_json","streamrec-topic":"ratings","streamrec-topic-id":"x","streamrec-partition":"0",'
            '"streamrec-offset":"88","streamrec-first-seen-ms":"5","streamrec-code-version":"0.1.0","streamrec-key":"u"}'
        ),
    ],
}


def test_committed_documents_are_those_that_the_code_makes(tmp_path):
    written = export_schemas(tmp_path)
    assert sorted(path.name for path in COMMITTED.iterdir()) == sorted(path.name for path in written)
    for path in written:
        assert (COMMITTED / path.name).read_bytes() == path.read_bytes(), f"run `streamrec schema export {COMMITTED}`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_itself_valid(name):
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(("name", "sample"), [(name, sample) for name, all_ in SAMPLES.items() for sample in all_])
def test_sample_of_the_contract_is_valid(name, sample):
    VALIDATORS[name].validate(json.loads(sample))
    if name in DECODERS:
        DECODERS[name](sample.encode())


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
CHANCES = st.floats(0, 1)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.dictionaries(st.integers(0, 9).map(str), st.integers(0, 2**40), max_size=2)
SLOTS = st.builds(
    RecommendedItem,
    item_id=IDS,
    score=FINITE,
    propensity=CHANCES,
    explored=st.booleans(),
    parts=st.dictionaries(TEXTS, FINITE | st.none(), max_size=2),
)
STATES = st.builds(
    StateView,
    t=st.integers(0, 2**40),
    partition=st.none() | st.integers(0, 99),
    offset=st.none() | st.integers(0, 2**40),
    applied_to=COUNTS,
    statistics_to=COUNTS,
    watermark_age_ms=st.none() | st.floats(0, 1e9),
)
EVENTS = {
    "rating": st.builds(
        RatingEvent,
        user_id=IDS,
        item_id=IDS,
        rating=st.floats(0.5, 5),
        event_id=st.none() | IDS,
        ts_ms=st.none() | INTEGERS,
        request_id=st.none() | IDS,
        v=st.just(1),
    ),
    "request": st.builds(
        RecommendationRequest,
        request_id=IDS,
        user_id=IDS,
        k=st.integers(1, 500),
        policy=st.none() | TEXTS,
        epsilon=st.none() | CHANCES,
        candidates=st.none() | st.lists(IDS, max_size=3).map(tuple),
        min_t=st.none() | st.integers(0, 2**40),
        v=st.just(1),
    ),
    "item": st.builds(
        Item,
        item_id=IDS,
        title=TEXTS,
        genres=st.lists(TEXTS, max_size=3).map(tuple),
        year=st.none() | INTEGERS,
        rating=st.none() | FINITE,
        attributes=st.dictionaries(TEXTS, TEXTS | FINITE | st.none(), max_size=2),
        v=st.just(1),
    ),
    "model": st.builds(
        ModelRelease, name=TEXTS, version=TEXTS, uri=TEXTS, metrics=st.dictionaries(TEXTS, FINITE), v=st.just(1)
    ),
    "recommendation": st.builds(
        Recommendation,
        request_id=IDS,
        user_id=IDS,
        policy=st.none() | TEXTS,
        items=st.lists(SLOTS, max_size=3),
        slate_propensity=st.none() | CHANCES,
        epsilon=st.none() | CHANCES,
        n_candidates=st.integers(0, 2**40),
        seed=st.integers(0, 2**63 - 1),
        state=STATES,
        timing=st.builds(Timing, queue_ms=st.floats(0, 1e6), score_ms=st.floats(0, 1e6)),
        error=st.none() | st.builds(ErrorView, code=st.sampled_from(ERROR_CODES), message=TEXTS),
        v=st.just(1),
    ),
}


@pytest.mark.parametrize("name", EVENTS)
@given(data=st.data())
def test_what_we_write_is_valid(name, data):
    VALIDATORS[name].validate(json.loads(encode(data.draw(EVENTS[name]))))


@pytest.mark.parametrize("name", EVENTS)
def test_schema_knows_exactly_the_fields_of_the_event(name):
    kinds = {"rating": RatingEvent, "request": RecommendationRequest, "item": Item, "model": ModelRelease}
    kind = kinds.get(name, Recommendation)
    assert set(SCHEMAS[name]["properties"]) == {field.encode_name for field in msgspec.structs.fields(kind)}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 600)
    | st.integers()
    | FINITE
    | TEXTS
    | st.sampled_from(["", "u" * 129, 10**127, 10**128, -(10**127), 2**63, 0.5, 5, 5.01])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)
FILTERS = st.dictionaries(
    st.sampled_from(["genres", "year", "attributes", "price"]),
    VALUES | st.dictionaries(st.sampled_from(["any", "all", "none", "min", "max", "x"]), VALUES, max_size=2),
    max_size=2,
)
POSITIONS = st.fixed_dictionaries({}, optional={"partition": SCALARS, "offset": SCALARS})


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
def test_what_the_schema_refuses_the_decoder_refuses(name, data):
    raw = json.loads(SAMPLES[name][0])
    for field in data.draw(st.sets(st.sampled_from(sorted(raw)), min_size=1, max_size=3)):
        if data.draw(st.integers(0, 9)) == 0:
            del raw[field]
        else:
            raw[field] = data.draw({"filters": FILTERS, "min_position": POSITIONS}.get(field, VALUES))
    if VALIDATORS[name].is_valid(raw):
        return
    with pytest.raises((EventError, RequestError)):
        DECODERS[name](json.dumps(raw).encode())


def test_schema_has_the_deployments_scale_names_and_partitions():
    names = {role: f"shop.{role}" for role in TOPICS}
    documents = make_documents(1, 10, topic_names=names, partitions=12)
    rating = documents["rating.schema.json"]["properties"]["rating"]
    assert (rating["minimum"], rating["maximum"]) == (1, 10)
    channel = documents["asyncapi.json"]["channels"]["ratings-dlq"]
    assert channel["address"] == channel["bindings"]["kafka"]["topic"] == "shop.ratings.dlq"
    assert channel["bindings"]["kafka"]["partitions"] == 12


def references(node):
    """Yield every $ref of a document."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(document, pointer):
    for part in pointer.removeprefix("#/").split("/"):
        document = document[part]
    return document


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_reference_leads_somewhere(name):
    found = list(references(DOCUMENTS[name]))
    for reference in found:
        if reference.startswith("#/"):
            resolve(DOCUMENTS[name], reference)
        else:
            assert reference.removeprefix("./") in DOCUMENTS
    assert found or name in {"model.schema.json", "dead-letter-headers.schema.json"}


def test_asyncapi_has_what_version_three_requires():
    assert re.fullmatch(r"3\.\d+\.\d+", ASYNCAPI["asyncapi"])
    assert {"title", "version"} <= set(ASYNCAPI["info"])
    for channel in ASYNCAPI["channels"].values():
        assert isinstance(channel["address"], str)
        assert channel["bindings"]["kafka"]["bindingVersion"] == "0.5.0"
    for operation in ASYNCAPI["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = resolve(ASYNCAPI, operation["channel"]["$ref"])
        for message in operation["messages"]:
            assert message["$ref"].rpartition("/")[2] in channel["messages"]


def test_asyncapi_has_the_topic_table():
    kept = {
        channel["address"]: channel["bindings"]["kafka"]["topicConfiguration"]
        for channel in ASYNCAPI["channels"].values()
    }
    assert kept == {
        role: {"cleanup.policy": [spec.cleanup]}
        | ({} if spec.retention_ms is None else {"retention.ms": spec.retention_ms})
        for role, spec in TOPICS.items()
    }
    assert kept["ratings"]["retention.ms"] == -1


def test_scorer_replies_to_requests_on_recommendations():
    reply = ASYNCAPI["operations"]["scorerReceivesRequests"]["reply"]
    assert reply["channel"]["$ref"] == "#/channels/recommendations"


def test_numbers_in_documents_are_finite():
    assert json.loads(json.dumps(DOCUMENTS, allow_nan=False)) == json.loads(json.dumps(DOCUMENTS))
    assert math.isfinite(SCHEMAS["rating"]["properties"]["rating"]["maximum"])
