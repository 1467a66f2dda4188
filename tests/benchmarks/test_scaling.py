"""How the scaling benchmark fits exponents, and what its plan makes of a load."""

import doctest
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scaling_sides import fit
from benchmarks.scaling_sides.fit import fit_exponent, fit_line, fit_share
from benchmarks.scaling_sides.plan import BUSY, GIB, MEASURED, Load, plan, plan_cells, table

CAPACITY = Path(__file__).parents[2] / "docs/capacity.md"
FREE = replace(MEASURED, **dict.fromkeys(MEASURED.__slots__, 0.0))
SMALL = Load(events=1, users=1, requests=1)


def test_the_examples_give_what_they_say():
    assert doctest.testmod(fit).failed == 0


def test_the_slopes_error_is_the_residuals_over_the_spread():
    # y = 1, 3, 2 at x = 0, 1, 2: slope 1/2, intercept 3/2; residuals -1/2, 1, -1/2; S_rr = 3/2, S_xx = 2, n - 2 = 1.
    line = fit_line([0, 1, 2], [1, 3, 2])
    assert (line.intercept, line.slope) == (1.5, 0.5)
    assert line.slope_error == pytest.approx(math.sqrt(1.5 / 2))


def test_a_power_law_has_its_exponent_and_a_share_its_parts():
    assert fit_exponent([1, 4, 16, 64], [3 * size**0.7 for size in (1, 4, 16, 64)]).slope == pytest.approx(0.7)
    line = fit_share([8, 32, 128], [5 + 200 / size for size in (8, 32, 128)])
    assert (line.intercept, line.slope) == (pytest.approx(5), pytest.approx(200))


@pytest.mark.parametrize("points", [([1, 2], [1, 2]), ([3, 3, 3], [1, 2, 3])])
def test_a_line_without_an_error_is_refused(points):
    with pytest.raises(ValueError, match="3 points and 2 different x"):
        fit_line(*points)


def test_workers_and_partitions_follow_the_cost_of_an_event():
    # 10 us an event, 250,000 a second: 2.5 cores, 5 workers at half, 10 partitions at two each.
    needs = plan(replace(SMALL, events=250_000), replace(FREE, event=10))
    assert (needs.workers, needs.partitions, needs.scorers, needs.nodes, needs.first) == (5, 10, 1, 1, "workers")


def test_nodes_and_shards_follow_memory_and_cores():
    # 100 items of 20 bytes and 48 beside: 2 KiB a user; 2^26 users are 128 GiB, of nodes with 0.6 x 64 GiB: 4.
    load = Load(events=1, users=2**26, requests=1, seen=100)
    needs = plan(load, replace(FREE, user_bytes=48, item_bytes=20))
    assert (needs.nodes, needs.nodes_for_memory, needs.shards, needs.memory_gib) == (4, 4, 8, 2**26 * 2048 / GIB)
    assert plan(replace(SMALL, events=250_000), replace(FREE, store_event=10)).nodes == 5


def test_every_commit_is_paid_for_each_shard_and_every_look_for_each_watermark():
    busy = replace(FREE, store_event=10, event_commit=2048)
    # 5 nodes for the events, hence 10 shards: 250,000 / 2,048 batches of 10 commits of 2,048 us are 2.5 cores.
    assert plan(replace(SMALL, events=250_000), busy).workers == 2.5 / BUSY
    # 10 shards and 4 partitions: 40 watermarks of 16 us in each look at 64 requests, 10 us a request.
    looks = replace(FREE, store_event=10, request_mark=16)
    needs = plan(Load(events=250_000, users=1, requests=50_000), looks)
    assert (needs.partitions, needs.scorers) == (4, 1)
    # Five times the requests ask for more scorers, these for partitions, and their watermarks for scorers, without end.
    assert plan(Load(events=250_000, users=1, requests=250_000), looks) is None


def test_a_load_that_no_number_of_members_can_carry_is_shared_among_systems():
    runaway = replace(FREE, store_event=10, store_commit=2048)
    load = Load(events=1_000_000, users=8, requests=8)
    assert plan(load, runaway) is None
    cells, needs = plan_cells(load, runaway)
    assert cells > 1
    assert needs == plan(replace(load, events=1_000_000 / cells, users=8 / cells, requests=8 / cells), runaway)
    assert plan(replace(load, events=2_000_000 / cells), runaway) is None


def test_more_of_anything_never_needs_less():
    base = Load(events=50_000, users=10_000_000, requests=5_000)
    before = plan(base)
    for name in ("events", "users", "requests", "seen"):
        after = plan(replace(base, **{name: 2 * getattr(base, name)}))
        for count in ("partitions", "workers", "scorers", "nodes", "shards", "memory_gib"):
            assert getattr(after, count) >= getattr(before, count)


def test_a_load_of_nothing_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        plan(replace(SMALL, users=0))


def test_the_page_has_the_table_that_the_function_makes():
    assert "\n".join(table()) in CAPACITY.read_text()
