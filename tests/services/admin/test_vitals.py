import math

import pytest

from services.admin.scrapes import Scrape, scrape
from services.admin.vitals import quantile, read_vitals


def look(at_s, **numbers):
    """A look at a scorer; numbers by name, `name__label_value` for a labelled one."""
    samples = {"streamrec_build_info": [({"role": "scorer", "version": "1"}, 1.0)]}
    for name, value in numbers.items():
        own, _, label = name.partition("__")
        labels = dict([label.split("_", 1)]) if label else {}
        samples.setdefault(f"streamrec_{own}", []).append((labels, float(value)))
    return Scrape("http://s:1", at_s, samples, is_ready=True)


def buckets(at_s, **counts):
    ends = {"a": "0.1", "b": "0.2", "c": "+Inf"}
    samples = {"x_bucket": [({"le": ends[name]}, float(count)) for name, count in counts.items()]}
    return Scrape("http://s:1", at_s, samples)


def test_rates_are_those_between_two_looks():
    before = look(10, answers_total__code_ok=100, answers_total__code_internal=5, answers_total__code_overloaded=0)
    now = look(12, answers_total__code_ok=160, answers_total__code_internal=7, answers_total__code_overloaded=4)
    vitals = read_vitals(before, now)
    assert (vitals.per_s, vitals.errors_per_s, vitals.shed_per_s) == (33.0, 3.0, 2.0)


def test_a_counter_that_fell_began_anew():
    assert read_vitals(look(0, answers_total__code_ok=500), look(1, answers_total__code_ok=20)).per_s == 20.0


def test_quantiles_lie_within_the_bucket_that_grew():
    before, now = buckets(0, a=10, b=10, c=10), buckets(1, a=10, b=18, c=20)
    # Ten new observations: eight in (0.1, 0.2], two above. The fifth is five eighths into the bucket.
    assert quantile(0.5, before, now, "x") == pytest.approx(0.1625)
    assert quantile(0.99, before, now, "x") == 0.2
    assert quantile(0.5, now, now, "x") is None


def test_a_lag_that_is_not_known_is_none_and_does_not_hide_the_others():
    assert read_vitals(look(0), look(1, requests_lag__partition_0=math.nan)).lag is None
    known = look(1, requests_lag__partition_0=math.nan, requests_lag__partition_1=7)
    assert read_vitals(look(0), known).lag == 7


def test_an_endpoint_that_does_not_answer_is_not_ready_and_says_so():
    found = scrape("http://127.0.0.1:1/")
    vitals = read_vitals(found, found)
    assert (vitals.ready, vitals.role, vitals.per_s) == (False, "", None)
    assert vitals.reasons[0].startswith("http://127.0.0.1:1 does not answer: ")
