import json

import pytest
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from prometheus_client import REGISTRY

import services.scorer.answer
import services.scorer.scoring
from schemas.errors import StreamrecError
from schemas.events import Position
from services.scorer.scoring import MAX_UNACKNOWLEDGED
from services.scorer.waiting import MAX_WAITING
from tests.services.scorer.fakes import Bench
from tests.services.scorer.sights import make_ledger


@pytest.fixture
def bench():
    return Bench()


class TestAnswering:
    def test_a_request_is_answered_under_its_own_key(self, bench):
        bench.ask(key=b"the key")
        bench.now_ms = 1234.0
        bench.scorer.step()
        (answer,) = bench.answers
        assert (answer.request_id, answer.error, answer.ts_ms) == ("r", None, 1234)
        assert bench.producer.sent[0].key == b"the key"
        assert answer.timing.score_ms > 0
        assert answer.timing.queue_ms >= 0

    def test_a_batch_is_answered_from_one_look_at_the_state(self, bench):
        for number in range(40):
            bench.ask(f"r{number}", f"u{number % 3}")
        bench.scorer.step()
        assert len(bench.states.looks) == 1
        assert [answer.request_id for answer in bench.answers] == [f"r{number}" for number in range(40)]

    def test_more_than_256_that_are_due_at_once_are_answered_in_several_batches(self, bench):
        for number in range(300):
            bench.ask(f"r{number}", min_t=1)
            if number == 255:
                bench.scorer.step()
        bench.scorer.step()
        bench.states.ledgers["u"] = make_ledger(("a", 4))
        bench.states.watermark = 1
        bench.states.looks.clear()
        bench.look_again()
        assert [len(look) for look in bench.states.looks] == [256, 44]
        assert len(bench.answers) == 300

    def test_an_expired_request_is_answered_so_and_the_state_is_not_looked_at(self, bench):
        bench.ask(ts_ms=0, deadline_ms=100)
        bench.now_ms = 101.0
        bench.scorer.step()
        assert bench.codes() == {"r": "deadline_exceeded"}
        assert bench.states.looks == []

    def test_a_fault_in_scoring_one_request_is_internal_for_this_one_only(self, bench, monkeypatch):
        answer = bench.scorer._answerer.answer

        def fail_for_one(request, *rest):
            if request.request_id == "bad":
                raise ZeroDivisionError("a fault")
            return answer(request, *rest)

        monkeypatch.setattr(bench.scorer._answerer, "answer", fail_for_one)
        for name in ("r1", "bad", "r2"):
            bench.ask(name)
        bench.scorer.step()
        assert bench.codes() == {"r1": "ok", "bad": "internal", "r2": "ok"}
        assert "ZeroDivisionError: a fault" in bench.answers[1].error.message

    def test_a_fault_in_making_slates_together_is_internal_for_its_request_only(self, bench, monkeypatch):
        made_together = []

        def fail_with_one(asked, sight, make=services.scorer.answer._make_slates):
            made_together.append(len(asked))
            if any(one.request.k == 13 for _, one in asked):
                raise ZeroDivisionError("a fault")
            return make(asked, sight)

        monkeypatch.setattr("services.scorer.answer._make_slates", fail_with_one)
        for name, k in (("r1", 10), ("bad", 13), ("r2", 10)):
            bench.ask(name, k=k)
        bench.scorer.step()
        assert bench.codes() == {"r1": "ok", "bad": "internal", "r2": "ok"}
        assert made_together == [3, 1, 1, 1]

    def test_a_fault_in_what_a_batch_shares_is_internal_for_each_and_the_next_batch_is_served(self, bench, monkeypatch):
        def fail(*_):
            raise ZeroDivisionError("a fault")

        with monkeypatch.context() as patch:
            patch.setattr("services.scorer.answer.build_profiles", fail)
            for name in ("r1", "r2"):
                bench.ask(name)
            bench.scorer.step()
        bench.ask("next")
        bench.scorer.step()
        assert bench.codes() == {"r1": "internal", "r2": "internal", "next": "ok"}

    def test_an_unreadable_ledger_is_internal_for_its_user_only(self, bench):
        bench.states.unreadable = {"v": "ledger version must be 1.1, got 9.9"}
        bench.ask("r1", "u")
        bench.ask("r2", "v")
        bench.ask("r3", "v", min_t=3)
        bench.scorer.step()
        assert bench.codes() == {"r1": "ok", "r2": "internal", "r3": "internal"}

    def test_an_answer_too_large_for_a_record_is_answered_as_internal(self, bench, monkeypatch):
        monkeypatch.setattr("services.scorer.outbox.MAX_ANSWER_BYTES", 700)
        bench.ask()
        bench.scorer.step()
        assert bench.codes() == {"r": "internal"}
        assert "an answer may have 700 bytes" in bench.answers[0].error.message

    def test_answers_are_counted_by_code(self, bench):
        def count(code):
            return REGISTRY.get_sample_value("streamrec_answers_total", {"code": code}) or 0.0

        before = {code: count(code) for code in ("ok", "unknown_policy")}
        bench.ask("r1")
        bench.ask("r2", policy="nobody")
        bench.scorer.step()
        assert {code: count(code) - before[code] for code in before} == {"ok": 1, "unknown_policy": 1}


READABLE = {"request_id": "r", "user_id": "u"}
ANSWERED_FAULTS = {
    "k of 0": ({"k": 0}, "invalid_request"),
    "k of 501": ({"k": 501}, "invalid_request"),
    "k in words": ({"k": "ten"}, "invalid_request"),
    "k true": ({"k": True}, "invalid_request"),
    "k a fraction": ({"k": 2.5}, "invalid_request"),
    "epsilon of 1.5": ({"epsilon": 1.5}, "invalid_request"),
    "epsilon below 0": ({"epsilon": -0.1}, "invalid_request"),
    "epsilon in words": ({"epsilon": "small"}, "invalid_request"),
    "candidates no list": ({"candidates": "a"}, "invalid_request"),
    "a candidate without a name": ({"candidates": [""]}, "invalid_request"),
    "a candidate of 129 characters": ({"candidates": ["x" * 129]}, "invalid_request"),
    "exclude no list": ({"exclude": {}}, "invalid_request"),
    "exclude_seen in words": ({"exclude_seen": "yes"}, "invalid_request"),
    "explain a number": ({"explain": 1}, "invalid_request"),
    "min_t negative": ({"min_t": -1}, "invalid_request"),
    "min_t a fraction": ({"min_t": 1.5}, "invalid_request"),
    "min_position no object": ({"min_position": 88}, "invalid_request"),
    "min_position without offset": ({"min_position": {"partition": 0}}, "invalid_request"),
    "min_position negative": ({"min_position": {"partition": 0, "offset": -1}}, "invalid_request"),
    "min_position beyond the partitions": ({"min_position": {"partition": 4, "offset": 0}}, "invalid_request"),
    "deadline of 0": ({"deadline_ms": 0}, "invalid_request"),
    "deadline of a year": ({"deadline_ms": 365 * 86_400_000}, "invalid_request"),
    "ts_ms in words": ({"ts_ms": "now"}, "invalid_request"),
    "another version": ({"v": 2}, "invalid_request"),
    "policy a number": ({"policy": 3}, "invalid_request"),
    "policy unknown": ({"policy": "nobody"}, "unknown_policy"),
    "policy in capitals": ({"policy": "Greedy"}, "unknown_policy"),
    "an unknown filter": ({"filters": {"price": 3}}, "invalid_filter"),
    "an unknown genre condition": ({"filters": {"genres": {"some": []}}}, "invalid_filter"),
    "genres no list": ({"filters": {"genres": {"any": "Drama"}}}, "invalid_filter"),
    "a year in words": ({"filters": {"year": {"min": "old"}}}, "invalid_filter"),
    "filters a list": ({"filters": []}, "invalid_filter"),
    "a nested attribute": ({"filters": {"attributes": {"a": {"b": 1}}}}, "invalid_filter"),
}
LETTERS = {
    "no value": (None, "empty_value"),
    "an empty value": (b"", "empty_value"),
    "not UTF-8": (b"\xff\xfe", "not_utf8"),
    "not JSON": (b"{request", "not_json"),
    "no object": (b"[1]", "wrong_type"),
    "a deep nest": (b"[" * 100_000, "not_json"),
    "too large": (b'{"x": "' + b"x" * 300_000 + b'"}', "too_large"),
    "no request_id": (b'{"user_id": "u"}', "missing_field"),
    "no user_id": (b'{"request_id": "r"}', "missing_field"),
    "an empty user_id": (b'{"request_id": "r", "user_id": ""}', "bad_id"),
    "a user_id of 129 characters": (json.dumps(READABLE | {"user_id": "x" * 129}).encode(), "bad_id"),
    "a user_id that is a list": (b'{"request_id": "r", "user_id": []}', "wrong_type"),
    "a request_id that is null": (b'{"request_id": null, "user_id": "u"}', "wrong_type"),
    "a request_id with a lone surrogate": (b'{"request_id": "\\ud800", "user_id": "u"}', "bad_id"),
}


class TestBadRequests:
    @pytest.mark.parametrize(("said", "code"), ANSWERED_FAULTS.values(), ids=ANSWERED_FAULTS.keys())
    def test_a_fault_in_a_readable_request_is_answered_with_its_code_and_the_next_is_served(self, bench, said, code):
        bench.inbox.put(json.dumps(READABLE | said).encode())
        bench.ask("next")
        bench.scorer.step()
        assert bench.codes() == {"r": code, "next": "ok"}
        assert bench.letters == []
        assert bench.inbox.commits[-1] == {0: 12}

    @pytest.mark.parametrize(("value", "reason"), LETTERS.values(), ids=LETTERS.keys())
    def test_a_request_without_readable_ids_is_dead_lettered_and_the_next_is_served(self, bench, value, reason):
        bench.inbox.put(value, partition=2, offset=7)
        bench.ask("next", partition=2, offset=8)
        bench.scorer.step()
        (letter,) = bench.letters
        assert letter.key == b"topic-id/2/7"
        assert letter.value == (value or b"")
        assert dict(letter.headers)["streamrec-reason"] == reason.encode()
        assert bench.codes() == {"next": "ok"}
        assert bench.inbox.commits[-1] == {2: 9}

    def test_a_fault_nobody_foresaw_in_reading_is_dead_lettered(self, bench, monkeypatch):
        def fail(*_):
            raise ZeroDivisionError

        monkeypatch.setattr(services.scorer.scoring, "read_question", fail)
        bench.ask()
        bench.scorer.step()
        assert dict(bench.letters[0].headers)["streamrec-reason"] == b"wrong_type"

    def test_a_key_longer_than_a_header_should_be_is_cut_in_the_letter(self, bench):
        bench.inbox.put(b"bad", key=b"k" * 1_000_000)
        bench.scorer.step()
        assert len(dict(bench.letters[0].headers)["streamrec-key"]) == 16 * 1024


class TestCommitting:
    def test_offsets_wait_for_the_acknowledgement(self, bench):
        bench.producer.is_holding = True
        bench.ask("r1", offset=5)
        bench.ask("r2", offset=6)
        bench.scorer.step()
        assert len(bench.answers) == 2
        assert bench.inbox.commits[-1] == {0: 5}
        bench.producer.acknowledge()
        bench.scorer.step()
        assert bench.inbox.commits[-1] == {0: 7}

    def test_dead_letters_too_are_acknowledged_before_their_offset_is_committed(self, bench):
        bench.producer.is_holding = True
        bench.inbox.put(b"bad", offset=5)
        bench.scorer.step()
        assert bench.inbox.commits[-1] == {0: 5}
        bench.producer.acknowledge()
        bench.scorer.step()
        assert bench.inbox.commits[-1] == {0: 6}

    def test_an_answer_that_fails_ends_the_scorer_with_its_offset_uncommitted(self, bench):
        bench.producer.is_holding = True
        bench.ask(offset=5)
        bench.scorer.step()
        bench.producer.fail(KafkaTimeoutError("no broker"))
        with pytest.raises(StreamrecError, match="could not be produced"):
            bench.scorer.step()
        assert all(commit[0] == 5 for commit in bench.inbox.commits)

    def test_a_producer_that_takes_nothing_ends_the_scorer(self, bench):
        bench.producer.refusal = KafkaTimeoutError("no metadata")
        bench.ask(offset=5)
        with pytest.raises(StreamrecError, match="topic 'answers' takes no record"):
            bench.scorer.step()
        assert bench.inbox.commits == []

    def test_a_key_too_large_for_the_answers_topic_gives_way_to_the_user_id(self, bench):
        send = bench.producer.send

        def refuse_large(topic, value=None, key=None, headers=None):
            if key is not None and len(key) > 1000:
                raise MessageSizeTooLargeError
            return send(topic, value=value, key=key, headers=headers)

        bench.producer.send = refuse_large
        bench.ask(key=b"k" * 2000)
        bench.scorer.step()
        assert bench.producer.sent[0].key == b"u"

    def test_requests_are_held_back_while_too_many_answers_are_unacknowledged(self, bench):
        bench.producer.is_holding = True
        for number in range(MAX_UNACKNOWLEDGED + 300):
            bench.ask(f"r{number}")
        for _ in range(MAX_UNACKNOWLEDGED // 256 + 3):
            bench.scorer.step()
        assert MAX_UNACKNOWLEDGED < len(bench.answers) <= MAX_UNACKNOWLEDGED + 256
        assert bench.inbox.holds[-1]
        bench.producer.acknowledge()
        bench.producer.is_holding = False
        for _ in range(3):
            bench.scorer.step()
        assert len(bench.answers) == MAX_UNACKNOWLEDGED + 300


class TestWaiting:
    def test_a_request_waits_for_the_users_t_without_holding_up_others(self, bench):
        bench.ask("waits", offset=5, min_t=1)
        bench.ask("other", "v", offset=6)
        bench.scorer.step()
        assert bench.codes() == {"other": "ok"}
        assert bench.inbox.commits[-1] == {0: 5}
        bench.states.ledgers["u"] = make_ledger(("a", 4))
        bench.states.watermark = 1
        bench.look_again()
        assert bench.codes() == {"other": "ok", "waits": "ok"}
        assert bench.answers[-1].state.t == 1
        assert bench.inbox.commits[-1] == {0: 7}

    def test_a_request_waits_until_the_watermark_has_passed_its_position(self, bench):
        bench.ask(min_position=Position(partition=0, offset=88))
        bench.scorer.step()
        for watermark in (87, 88):
            bench.states.watermark = watermark
            bench.look_again()
            assert bench.answers == []
        bench.states.watermark = 89
        bench.look_again()
        assert bench.codes() == {"r": "ok"}
        assert bench.answers[0].state.applied_to == {"0": 89}

    def test_at_the_deadline_it_is_answered_as_not_reached_with_the_state_seen(self, bench):
        bench.states.ledgers["u"] = make_ledger(("a", 4))
        bench.ask(min_t=9, ts_ms=0, deadline_ms=100)
        bench.scorer.step()
        bench.look_again()
        bench.now_ms = 100.0
        bench.look_again()
        assert bench.answers == []
        bench.now_ms = 101.0
        bench.look_again()
        assert bench.codes() == {"r": "state_not_reached"}
        assert bench.answers[0].state.t == 1
        assert "was at t 1" in bench.answers[0].error.message

    def test_the_state_is_looked_at_again_only_when_a_watermark_has_moved(self, bench):
        bench.ask(min_t=1)
        bench.scorer.step()
        bench.look_again()
        bench.states.looks.clear()
        for _ in range(5):
            bench.look_again()
        assert bench.states.looks == []

    def test_more_than_can_wait_are_told_so(self, bench):
        for number in range(MAX_WAITING + 1):
            bench.ask(f"r{number}", min_t=1)
        while bench.inbox.records:
            bench.scorer.step()
        assert bench.codes() == {f"r{MAX_WAITING}": "overloaded"}

    def test_what_waits_is_forgotten_when_its_partition_is_lost(self, bench):
        bench.ask("lost", partition=0, offset=5, min_t=1)
        bench.ask("kept", partition=1, offset=5, min_t=1)
        bench.scorer.step()
        bench.inbox.revoked = {0}
        bench.states.ledgers["u"] = make_ledger(("a", 4))
        bench.states.watermark = 1
        bench.look_again()
        assert bench.codes() == {"kept": "ok"}
        assert bench.inbox.commits[-1] == {1: 6}


class TestStoreAway:
    def test_requests_are_kept_and_answered_when_the_store_is_back(self, bench):
        bench.states.is_away = True
        bench.ask(offset=5)
        for _ in range(3):
            bench.scorer.step()
        assert bench.answers == []
        assert bench.inbox.holds == [False, True, True]
        assert bench.inbox.commits[-1] == {0: 5}
        bench.states.is_away = False
        bench.scorer.step()
        assert bench.codes() == {"r": "ok"}
        assert bench.inbox.commits[-1] == {0: 6}

    def test_at_the_deadline_they_are_answered_as_internal(self, bench):
        bench.states.is_away = True
        bench.ask("plain", ts_ms=0, deadline_ms=100)
        bench.ask("waits", ts_ms=0, deadline_ms=100, min_t=1)
        bench.scorer.step()
        bench.now_ms = 101.0
        bench.scorer.step()
        assert bench.codes() == {"plain": "internal", "waits": "internal"}
        assert "the state could not be read before the deadline" in bench.answers[0].error.message

    def test_a_request_that_waits_for_its_state_survives_the_outage(self, bench):
        bench.ask(min_t=1)
        bench.scorer.step()
        bench.states.is_away = True
        bench.look_again()
        bench.states.is_away = False
        bench.states.ledgers["u"] = make_ledger(("a", 4))
        bench.states.watermark = 1
        bench.look_again()
        assert bench.codes() == {"r": "ok"}


class TestFinishing:
    def test_what_is_sent_is_flushed_and_committed_and_the_group_left(self, bench):
        bench.producer.is_holding = True
        bench.ask(offset=5)
        bench.scorer.step()
        bench.scorer.finish(1.0)
        assert bench.producer.flushes == 1
        assert bench.inbox.closed_with == {0: 6}

    def test_what_still_waits_is_left_uncommitted_for_the_next_scorer(self, bench):
        bench.ask("waits", offset=5, min_t=1)
        bench.ask("done", offset=6)
        bench.scorer.step()
        bench.scorer.finish(1.0)
        assert bench.codes() == {"done": "ok"}
        assert bench.inbox.closed_with == {0: 5}

    def test_what_has_just_been_reached_is_answered_at_the_end(self, bench):
        bench.ask(offset=5, min_t=1)
        bench.scorer.step()
        bench.states.ledgers["u"] = make_ledger(("a", 4))
        bench.states.watermark = 1
        bench.scorer.finish(1.0)
        assert bench.codes() == {"r": "ok"}
        assert bench.inbox.closed_with == {0: 6}

    def test_answers_that_are_not_acknowledged_stay_uncommitted(self, bench, monkeypatch):
        def time_out(timeout=None):
            raise KafkaTimeoutError

        bench.producer.is_holding = True
        monkeypatch.setattr(bench.producer, "flush", time_out)
        bench.ask(offset=5)
        bench.scorer.step()
        with pytest.raises(StreamrecError, match="not acknowledged within"):
            bench.scorer.finish(1.0)
        assert bench.inbox.closed_with == {0: 5}


def test_a_batch_is_what_has_come_up_to_256_and_nothing_waits_for_more(bench):
    for number in range(300):
        bench.ask(f"r{number}")
    for _ in range(3):
        bench.scorer.step()
    assert [len(look) for look in bench.states.looks] == [256, 44]
    assert len(bench.inbox.holds) == 3


@pytest.mark.parametrize(("send_every_s", "sent_before"), [(0.0, [0, 1, 2]), (3600.0, [0, 0, 0])])
def test_answers_of_a_long_batch_go_out_as_they_come(bench, monkeypatch, send_every_s, sent_before):
    monkeypatch.setattr(services.scorer.scoring, "SEND_EVERY_S", send_every_s)
    answer, seen = bench.scorer._answerer.answer, []

    def note(*given):
        seen.append(len(bench.producer.sent))
        return answer(*given)

    monkeypatch.setattr(bench.scorer._answerer, "answer", note)
    for number in range(3):
        bench.ask(f"r{number}")
    bench.scorer.step()
    assert seen == sent_before
    assert [answer.request_id for answer in bench.answers] == ["r0", "r1", "r2"]


def test_under_overload_what_expired_is_answered_before_anything_is_scored_and_counted(bench):
    def count():
        return REGISTRY.get_sample_value("streamrec_answers_total", {"code": "deadline_exceeded"}) or 0.0

    for number in range(300):
        bench.ask(f"waits{number}", ts_ms=0, deadline_ms=10_000, min_t=1)
    bench.scorer.step()
    bench.scorer.step()
    before = count()
    for number in range(10):
        bench.ask(f"live{number}", ts_ms=1000, deadline_ms=10_000)
        bench.ask(f"late{number}", ts_ms=0, deadline_ms=100)
    bench.states.ledgers["u"] = make_ledger(("a", 4))
    bench.states.watermark = 1
    bench.now_ms = 1000.0
    bench.look_again()
    assert [answer.request_id for answer in bench.answers[:10]] == [f"late{number}" for number in range(10)]
    assert set(bench.codes().values()) == {"ok", "deadline_exceeded"}
    assert count() - before == 10


def test_warm_up_scores_with_every_policy_and_answers_nobody(bench):
    bench.scorer.warm_up(["greedy", "ucb"])
    assert bench.states.looks == [["warm-up"]]
    assert bench.producer.sent == []
