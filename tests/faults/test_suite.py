from pathlib import Path

import pytest

from schemas.errors import EngineError
from tests.faults import suite
from tests.faults.mutations import MUTATIONS
from tests.faults.rows import ROWS, chosen_rows
from tests.faults.stage import PromiseBrokenError
from tests.faults.suite import Job, jobs_of, mutated_jobs, run_job

HOME = Path("kafka")


@pytest.fixture
def outcomes(monkeypatch, tmp_path):
    """What the runs of a row end with, in turn, instead of being made."""
    left = []

    def run_seeds(job, seeds, home, directory, result, say):
        error = left.pop(0)
        result.seeds += len(seeds) if error is None else 0
        return error

    monkeypatch.setattr(suite, "_run_seeds", run_seeds)
    monkeypatch.setattr(suite.tempfile, "tempdir", str(tmp_path))
    return left


def test_a_row_of_the_bus_is_run_on_both_brokers_and_one_of_the_store_on_tansu():
    assert jobs_of(chosen_rows("9e,9f,8"), HOME) == [
        Job("9e", "tansu"),
        Job("9f", "tansu"),
        Job("8", "kafka"),
        Job("9f", "kafka"),
    ]


def test_without_kafka_every_row_is_run_on_tansu_that_can_be():
    assert jobs_of(ROWS, None) == [Job(row.number, "tansu") for row in ROWS if not row.needs_kafka]


def test_every_mutation_is_run_wherever_its_row_is():
    assert {job.mutation for job in mutated_jobs(list(MUTATIONS), None)} == set(MUTATIONS) - {"fence"}
    assert mutated_jobs(["seek", "fence"], HOME) == [Job("4", "tansu", "seek"), Job("10", "kafka", "fence")]


def test_a_mutation_is_tried_until_a_promise_is_broken(outcomes):
    outcomes += [None, EngineError("died"), PromiseBrokenError("lost 1"), None]
    result = run_job(Job("10", "tansu", "fence"), 4, None)
    assert result.is_promise_broken
    assert result.faults == ["seed 1: EngineError: died", "seed 2: PromiseBrokenError: lost 1"]
    assert outcomes == [None]


def test_a_process_that_dies_does_not_show_a_mutation(outcomes):
    outcomes += [EngineError("died"), None]
    assert not run_job(Job("10", "tansu", "fence"), 2, None).is_promise_broken


def test_only_what_should_not_have_failed_leaves_its_logs(outcomes, tmp_path):
    outcomes += [None, PromiseBrokenError("lost 1"), PromiseBrokenError("lost 1")]
    run_job(Job("10", "tansu", "fence"), 3, None)
    assert list(tmp_path.iterdir()) == []
    run_job(Job("10", "tansu"), 3, None)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_row_ends_at_its_first_fault(outcomes):
    outcomes += [EngineError("died")]
    result = run_job(Job("10", "tansu"), 3, None)
    assert not result.is_green
    assert result.faults == ["seed 0: EngineError: died"]
