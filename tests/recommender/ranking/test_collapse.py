import numpy as np
import pytest

from recommender.ranking.collapse import CollapseLimits, collapse_of


def test_lists_that_differ_are_no_collapse():
    assert collapse_of(np.random.default_rng(0).integers(0, 1000, size=(500, 10)), 1000) is None


def test_few_items_shown_nearly_always_are_a_collapse_although_many_are_shown_once():
    # 2 % of the slots are random: 100 slots cover enough items, and yet entropy stays near log2(10) = 3.3.
    lists = np.tile(np.arange(10), (500, 1))
    lists[:10] = np.random.default_rng(0).integers(0, 1000, size=(10, 10))
    assert "bits of entropy; the limit is 4.3" in collapse_of(lists, 1000)


def test_a_catalogue_of_ten_items_cannot_collapse():
    assert collapse_of(np.tile(np.arange(10), (500, 1)), 10) is None


def test_no_lists_are_no_collapse():
    assert collapse_of(np.full((3, 10), -1), 10) is None


@pytest.mark.parametrize(
    ("limits", "message"), [({"share": 1.5}, "share must be"), ({"entropy": -1.0}, "entropy must")]
)
def test_limits_out_of_range_are_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        CollapseLimits(**limits)
