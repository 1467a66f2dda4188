"""What the collector makes of a record on the topic of answers."""

import pytest

from schemas.codec import encode
from schemas.events import Recommendation, StateView
from services.loadtest.collector import CollectTask, _Collector
from tests.services.loadtest.outcomes import plan_of


@pytest.fixture
def collector(tmp_path, make_settings):
    plan = plan_of(tmp_path)
    task = CollectTask(
        make_settings(),
        "run",
        plan.ratings_spool,
        plan.requests_spool,
        {0: 0},
        partitions=8,
        kept=tmp_path / "kept.npz",
    )
    return _Collector(None, task)


def answer(request_id, **applied_to):
    state = StateView(applied_to={name.removeprefix("p"): offset for name, offset in applied_to.items()})
    return encode(Recommendation(request_id=request_id, user_id="u", state=state))


def test_an_answer_may_name_more_partitions_of_ratings_than_the_answers_have(collector):
    assert collector._take(answer("run-p3", p7=99), 0.5)
    assert collector._applied_to[3].tolist() == [0] * 7 + [99]
    assert collector.kinds["p"].at_s[3] == 0.5


@pytest.mark.parametrize("request_id", ["run-rx", "run-r", "run-r400", "run-q1", "run", "ruin-r1", "run-r-1"])
def test_an_answer_to_no_request_of_the_run_is_passed_over(collector, request_id):
    assert not collector._take(answer(request_id), 0.5)


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff", b"[1]"])
def test_what_is_no_answer_is_passed_over(collector, value):
    assert not collector._take(value, 0.5)
