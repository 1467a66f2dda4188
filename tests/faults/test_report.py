from tests.faults.report import table, verdict
from tests.faults.rows import ROWS, chosen_rows, rows_on
from tests.faults.suite import Result


def result(number, broker="tansu", **found):
    return Result(number, "what", "recovery", broker, **{"seeds": 3} | found)


def test_every_row_is_run_on_some_broker_and_those_that_need_kafka_on_no_other():
    tansu, kafka = rows_on("tansu", ROWS), rows_on("kafka", ROWS)
    assert {row.number for row in (*tansu, *kafka)} == {row.number for row in ROWS}
    assert not any(row.needs_kafka for row in tansu)
    assert {row.number for row in kafka} >= {"7a", "8", "9f", "13a", "14", "16", "21"}


def test_a_row_that_is_red_on_one_broker_is_red():
    lines, failed = verdict([result("10"), result("10", "kafka", faults=["lost"])], chosen_rows("10"), is_named=False)
    assert failed == ["10 on kafka"]
    assert lines == ["0 of 1 rows green, 0 not run, red: 10 on kafka"]


def test_rows_that_were_not_run_are_named_and_not_counted_as_green():
    lines, failed = verdict([result("7a")], chosen_rows("7a,8"), is_named=False)
    assert failed == []
    assert lines == [
        "row 8: NOT RUN, it needs Apache Kafka: set KAFKA_HOME",
        "1 of 2 rows green, 1 not run, red: none",
    ]


def test_a_row_asked_for_by_name_and_not_run_is_a_failure():
    assert verdict([], chosen_rows("8"), is_named=True)[1] == ["8 was not run"]


def test_nothing_run_at_all_is_a_failure():
    assert verdict([], chosen_rows("8"), is_named=False)[1] == ["8 was not run"]


def test_a_row_that_ran_no_seed_is_red():
    assert verdict([result("3", seeds=0)], chosen_rows("3"), is_named=False)[1] == ["3 on tansu"]


def test_the_table_of_mutations_shows_the_broken_promise_and_nothing_else_as_seen():
    broken = result("10", "kafka", faults=["seed 0: EngineError: died", "seed 1: lost 1"], is_promise_broken=True)
    died = result("10", faults=["seed 0: EngineError: died"])
    mutations = {"fence kafka": broken.as_json(), "dead letters tansu": died.as_json()}
    lines = table({"python": "3", "cores": 2, "packages": {}, "rows": {}, "mutations": mutations}).splitlines()
    assert "| the fence | 10 | kafka | seed 1: lost 1 |" in lines
    assert "| the wait for dead letters | 1c | tansu | NOT SEEN |" in lines
    assert "| the seek | 4 | | not checked |" in lines
