"""A second play in a system whose every step is scripted: nothing is answered or applied before its time."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import RatingDecoder, encode
from services.loadtest import again
from services.loadtest.again import STATISTICS_USED, play_script
from services.loadtest.logical_order import make_script
from tests.services.loadtest.recorded import answered, asked, rated, record_of

LATE = 2
BAD = b"bad"


class MemoryBus:
    """Applies a rating ``LATE`` polls after it was sent, and answers a request as soon as its ``min_t`` allows.

    A request is looked at in a poll only, when everything was sent that does not wait for its answer.
    """

    def __init__(self, policy="greedy_compat", answers_a_poll=99):
        self.policy = policy
        self.answers_a_poll = answers_a_poll
        self.log = []
        self.polls = 0
        self.due = []
        self.events = {}
        self.applied = 0
        self.open = []

    def rate(self, rating):
        self.log.append("bad" if rating.value == BAD else json.loads(rating.value)["item_id"])
        self.due.append((self.polls + LATE, rating))

    def request(self, user_id, value):
        fields = json.loads(value)
        self.log.append(fields["request_id"])
        self.open.append((user_id, fields))

    def poll(self):
        self.polls += 1
        self._apply(self.polls)
        waiting, self.open, given = self.open, [], 0
        for user_id, fields in reversed(waiting):
            t = len(self.events.get(user_id, ()))
            if given == self.answers_a_poll or (fields["min_t"] is not None and t < fields["min_t"]):
                self.open.append((user_id, fields))
            else:
                given += 1
                yield answered(fields["request_id"], user_id, t, {0: self.applied}, policy=self.policy)

    def wait_until_applied(self):
        self._apply(self.polls + LATE)

    def _apply(self, until):
        while self.due and self.due[0][0] <= until:
            _, rating = self.due.pop(0)
            self.applied += 1
            if rating.value != BAD:
                event = json.loads(rating.value)
                self.events.setdefault(event["user_id"], {})[event["event_id"] or self.applied] = rating


def make(policy="greedy_compat"):
    """Two users in turn, three ratings each, one request after each rating, answered in the midst of everything."""
    ratings, requests, answers = [], [], []
    for n in range(6):
        user = "uv"[n % 2]
        ratings.append((rated(user, f"{user}{n // 2 + 1}"), 0, n))
        requests.append(asked(f"{user}?{n // 2 + 1}", user, policy=policy))
        answers.append(answered(f"{user}?{n // 2 + 1}", user, n // 2 + 1, {0: n + 1}, policy=policy))
    return make_script(record_of(ratings, requests, answers), RatingDecoder(0.5, 5.0))


def test_each_user_waits_for_its_own_answers_only():
    script, bus = make(), MemoryBus()
    comparison = play_script(script, bus, serial=False)
    for user in "uv":
        own = [f"{user}1", f"{user}?1", f"{user}2", f"{user}?2", f"{user}3", f"{user}?3"]
        assert [sent for sent in bus.log if sent[0] == user] == own
    assert bus.log[:4] == ["u1", "u?1", "v1", "v?1"], "v does not wait for u"
    assert (comparison.compared, comparison.named) == (6, [])


def test_in_one_order_everything_waits_for_everything():
    script, bus = make("greedy"), MemoryBus("greedy")
    told = []
    comparison = play_script(script, bus, serial=True, on_progress=lambda *so_far: told.append(so_far))
    assert bus.log == ["u1", "u?1", "v1", "v?1", "u2", "u?2", "v2", "v?2", "u3", "u?3", "v3", "v?3"]
    assert (comparison.compared, comparison.named, comparison.is_same) == (6, [], True)
    assert told == [(n, 6) for n in range(1, 7)]


def test_next_rating_waits_for_all_answers_at_its_users_t():
    ratings = [(rated("u", f"u{n + 1}"), 0, n) for n in range(2)]
    requests, answers = zip(*((asked(f"?{n}", "u"), answered(f"?{n}", "u", 1)) for n in range(5)), strict=True)
    script, bus = (
        make_script(record_of(ratings, requests, answers), RatingDecoder(0.5, 5.0)),
        MemoryBus(answers_a_poll=1),
    )
    comparison = play_script(script, bus, serial=False)
    assert (comparison.compared, comparison.named, bus.log[-1]) == (5, [], "u2")


def test_in_one_order_a_request_waits_for_the_ratings_of_others():
    ratings = [(rated("u", f"u{n + 1}"), 0, n) for n in range(2)]
    record = record_of(ratings, [asked("?", "w")], [answered("?", "w", 0, {0: 2}, policy="greedy")])
    script = make_script(record, RatingDecoder(0.5, 5.0))
    comparison = play_script(script, MemoryBus("greedy"), serial=True)
    assert (comparison.compared, comparison.named) == (1, [])


def test_in_one_order_nothing_goes_on_before_every_request_of_a_moment_is_answered():
    ratings = [(rated("u", f"u{n + 1}"), 0, n) for n in range(2)]
    names = ["?0", "?1", "?2", "?3"]
    answers = [answered(name, "w", 0, {0: 2 if name == "?3" else 1}, policy="greedy") for name in names]
    record = record_of(ratings, [asked(name, "w") for name in names], answers)
    script, bus = make_script(record, RatingDecoder(0.5, 5.0)), MemoryBus("greedy", answers_a_poll=1)
    comparison = play_script(script, bus, serial=True)
    assert (comparison.compared, comparison.named) == (4, [])
    assert bus.log == ["u1", "?0", "?1", "?2", "u2", "?3"]


@given(st.data())
@settings(max_examples=25)
def test_whatever_was_asked_while_whatever_was_sent_is_answered_as_it_was(data):
    # A run of one shard: at every moment some of each partition is applied, and requests are answered from that.
    sent = data.draw(
        st.lists(st.tuples(st.sampled_from("uvwx"), st.none() | st.integers(0, 5), st.booleans()), max_size=24)
    )
    ratings, requests, answers = [], [], []
    cut, events = {0: 0, 1: 0}, {}
    for n, (user, event, is_bad) in enumerate(sent):
        partition = "uvwx".index(user) % 2
        event_id = None if event is None else f"{user}{event}"
        ratings.append((BAD if is_bad else rated(user, f"i{n}", event_id=event_id), partition, cut[partition]))
        cut[partition] += 1
        if not is_bad:
            events.setdefault(user, set()).add(event_id or n)
        for user_id in data.draw(st.lists(st.sampled_from("uvwxyz"), max_size=2)):
            requests.append(asked(f"r{len(requests)}", user_id))
            seen = len(events.get(user_id, ()))
            answers.append(answered(f"r{len(answers)}", user_id, seen, cut, policy="greedy"))
    record = record_of(data.draw(st.permutations(ratings)), data.draw(st.permutations(requests)), answers)
    script = make_script(record, RatingDecoder(0.5, 5.0))
    answers_a_poll = data.draw(st.integers(1, 3))
    serially = play_script(script, MemoryBus("greedy", answers_a_poll), serial=True)
    assert (serially.compared, serially.named, serially.not_compared) == (len(requests), [], {})
    free = make_script(
        replace(record, answers=[value.replace(b"greedy", b"greedy_compat") for value in record.answers]),
        RatingDecoder(0.5, 5.0),
    )
    by_user = play_script(free, MemoryBus("greedy_compat", answers_a_poll), serial=False)
    assert (by_user.compared, by_user.named, by_user.not_compared) == (len(requests), [], {})


def test_no_more_requests_are_open_than_wait_well(monkeypatch):
    monkeypatch.setattr(again, "OPEN_AT_ONCE", 1)
    script, bus = make(), MemoryBus()
    play_script(script, bus, serial=False)
    assert bus.log == [f"{user}{sign}{n}" for user in "uv" for n in (1, 2, 3) for sign in ("", "?")]


def test_answers_that_used_statistics_are_listed_where_users_play_side_by_side():
    script = make("greedy")
    comparison = play_script(script, MemoryBus("greedy"), serial=False)
    assert {why: len(ids) for why, ids in comparison.not_compared.items()} == {STATISTICS_USED: 6}
    assert (comparison.answers, comparison.compared, comparison.is_same) == (6, 0, False)


def test_answer_of_a_policy_that_uses_statistics_now_is_listed_too():
    script = make()
    comparison = play_script(script, MemoryBus("greedy"), serial=False)
    assert list(comparison.not_compared) == [STATISTICS_USED]


def test_error_in_place_of_an_answer_is_named_whatever_the_answer_used():
    script, bus = make("greedy"), MemoryBus("greedy")
    original = bus.poll

    def poll():
        for answer in original():
            yield answered("u?2", "u", code="internal") if answer.request_id == "u?2" else answer

    bus.poll = poll
    comparison = play_script(script, bus, serial=False)
    assert [(each.request_id, each.what, each.again) for each in comparison.named] == [("u?2", "error", "internal")]


def test_statistics_of_a_log_that_is_not_known_whole_are_not_compared():
    script = make("greedy")
    script.gap = "a hole"
    comparison = play_script(script, MemoryBus("greedy"), serial=True)
    assert list(comparison.not_compared) == ["it used item statistics, and a hole"]


def test_statistics_of_another_moment_than_the_state_are_not_compared():
    script = make("greedy")
    other = script.requests[0].recorded
    other.state.statistics_to = {"0": 0}
    script.requests[0] = replace(script.requests[0], answer=encode(other))
    comparison = play_script(script, MemoryBus("greedy"), serial=True)
    ((why, ids),) = comparison.not_compared.items()
    assert ("of another moment" in why, ids, comparison.compared) == (True, ["u?1"], 5)


def test_doubtful_users_are_named():
    script = make()
    script.doubtful["u"] = "who knows"
    comparison = play_script(script, MemoryBus(), serial=False)
    assert comparison.not_compared == {"who knows": ["u?1", "u?2", "u?3"]}
    assert (comparison.compared, comparison.is_same) == (3, True)


@pytest.mark.parametrize("serial", [False, True])
def test_silence_ends_the_play_and_names_all_that_was_not_answered(monkeypatch, serial):
    script, bus = make("greedy"), MemoryBus("greedy")
    script.left_out["why not"] = ["v?3"]

    def poll():
        yield answered("u?1", "u", 1, {0: 1}, policy="greedy")
        monkeypatch.setattr(again, "STALL_S", -1.0)

    bus.poll = poll
    comparison = play_script(script, bus, serial=serial)
    assert comparison.unanswered == ["u?2", "u?3", "v?1", "v?2"]
    assert not comparison.is_same


def test_answers_to_others_and_repeats_are_passed_over():
    script, bus = make(), MemoryBus()
    original = bus.poll

    def poll():
        for answer in original():
            yield from (answered("other", "u"), answer, answer)

    bus.poll = poll
    comparison = play_script(script, bus, serial=False)
    assert (comparison.compared, comparison.named) == (6, [])
