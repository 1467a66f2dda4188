"""``loadtest --record`` and ``--again``: what goes together, and what is refused before anything is played."""

import pytest

from schemas.errors import ConfigurationError
from services.admin.bus import produce_all
from services.cli.loadtest_again import refuse_begun


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--again", "r", "--replay", "synthetic:5,5,5"], "--again plays a record: leave out --replay"),
        (["--again", "r", "--record", "s"], "--again plays a record: leave out --replay, --record"),
        (["--replay", "synthetic:5,5,5", "--serial"], "--serial and --onto-state say how to play --again"),
        (["--replay", "synthetic:5,5,5", "--onto-state"], "--serial and --onto-state say how to play --again"),
        (["--replay", "synthetic:5,5,5", "--record", "r", "--find-knee"], "--record keeps one run, --find-knee makes"),
    ],
)
def test_flags_that_contradict_one_another_are_refused(run, flags, why):
    outcome = run("loadtest", *flags)
    assert (outcome.code, why in outcome.err) == (2, True), outcome.err


def test_folder_that_is_no_record_is_refused_before_anything_starts(run, tmp_path):
    outcome = run("loadtest", "--again", "r", "--embedded")
    assert outcome.code == 1
    assert "r/manifest.json does not exist: r is no record, or its run did not end" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_folder_that_holds_something_takes_no_record_and_nothing_is_run(run, tmp_path):
    (tmp_path / "something").touch()
    outcome = run("loadtest", "--replay", "synthetic:5,5,5", "--rate", "1", "--embedded", "--record", ".")
    assert outcome.code == 1
    assert ". must be empty to hold a record, it has something: name another" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


@pytest.mark.integration
def test_log_that_has_begun_is_not_recorded(topics):
    refuse_begun(topics)
    produce_all(topics, topics.topic("ratings"), [(b"u", b"{}")])
    with pytest.raises(ConfigurationError, match=r"holds 1 records: a run that is kept must begin with an empty log"):
        refuse_begun(topics)
