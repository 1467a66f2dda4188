"""``loadtest --record`` and ``--again``: what goes together, and what is refused before anything is played."""

import pytest

from schemas.errors import ConfigurationError, DataError
from services.admin.bus import produce_all
from services.cli.loadtest_again import refuse_unfit


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


@pytest.mark.integration
def test_record_needs_an_empty_folder_and_an_empty_log(topics, tmp_path):
    refuse_unfit(tmp_path, topics)
    produce_all(topics, topics.topic("ratings"), [(b"u", b"{}")])
    with pytest.raises(ConfigurationError, match=r"holds 1 records: a run that is kept must begin with an empty log"):
        refuse_unfit(tmp_path, topics)
    (tmp_path / "something").touch()
    with pytest.raises(DataError, match="must be empty to hold a record, it has something"):
        refuse_unfit(tmp_path, topics)
