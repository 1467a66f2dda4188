"""The processes of a run: together at the start, named when one fails, none left at the end."""

import psutil
import pytest

from schemas.errors import StreamrecError
from services.loadtest.crew import Crew
from tests.services.loadtest import members
from tests.waiting import wait_until


def lead_until(crew, condition):
    def is_over():
        crew.listen()
        return condition()

    wait_until(is_over)


def test_members_start_at_one_moment_and_what_they_tell_is_kept():
    with Crew() as crew:
        both = [crew.add(name, members.finish_at_once, name) for name in ("a", "b")]
        start = crew.go()
        lead_until(crew, lambda: all(member.is_done for member in both))
        assert [member.progress for member in both] == [{"said": name, "start": start} for name in ("a", "b")]


@pytest.mark.parametrize(
    ("work", "task", "says"),
    [(members.fail, "no such thing", "the load test's it failed:.*no such thing"), (members.vanish, 7, "exit code 7")],
)
def test_a_member_that_fails_ends_the_run_with_its_name_and_reason(work, task, says):
    with Crew() as crew:
        crew.add("it", work, task)
        crew.go()
        with pytest.raises(StreamrecError, match=f"(?s){says}"):
            lead_until(crew, lambda: False)


@pytest.mark.parametrize("work", [members.wait_for_ever, members.tell_for_ever, members.hear_nothing])
@pytest.mark.timeout(20)
def test_no_member_outlives_its_crew_or_complains(work, monkeypatch, capfd):
    monkeypatch.setattr("services.loadtest.crew.END_TIMEOUT_S", 0.3)
    with Crew() as crew:
        member = crew.add("it", work, None)
        crew.go()
        pid = member.pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    assert "Error" not in capfd.readouterr().err
