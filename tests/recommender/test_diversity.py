import numpy as np
import pytest

from recommender.diversity import Diversity, DiversityLimits, measure_diversity


def test_the_same_list_for_everybody_has_the_entropy_of_one_list():
    found = measure_diversity(np.array([[0, 1, 2, 3]] * 9), np.eye(8))
    assert found == Diversity(coverage=0.5, intra_list_distance=1.0, entropy=2.0)


def test_distance_is_one_less_the_mean_cosine_of_pairs():
    # The pairs of 0, 0 and 1 have the cosines 1, 0 and 0: a mean distance of 2/3.
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert measure_diversity(np.array([[0, 1, 2]]), x).intra_list_distance == pytest.approx(2 / 3)


def test_short_lists_count_what_they_have():
    found = measure_diversity(np.array([[0, -1], [1, 2]]), np.eye(4))
    assert (found.coverage, found.intra_list_distance) == (0.75, 1.0)
    assert found.entropy == pytest.approx(np.log2(3))


def test_what_is_below_a_limit_is_named_and_nothing_else():
    limits = DiversityLimits(coverage=0.1, entropy=4.0, distance=0.05)
    assert limits.fault_of(Diversity(0.1, 0.05, 4.0)) is None
    assert limits.fault_of(Diversity(0.05, 0.05, 3.5)) == "coverage 0.05 is below 0.1, entropy 3.5 bits is below 4"
    assert limits.fault_of(Diversity(0.1, 0.04, 4.0)) == "intra-list distance 0.04 is below 0.05"
    assert DiversityLimits().fault_of(Diversity(0.1, -1e-16, 4.0)) is None


@pytest.mark.parametrize(
    "limits", [(-0.1, 4.0), (1.1, 4.0), (0.1, -1.0), (0.1, float("inf")), (0.1, 4.0, -0.1), (0.1, 4.0, 2.1)]
)
def test_a_limit_out_of_its_range_is_refused(limits):
    with pytest.raises(ValueError, match="the least"):
        DiversityLimits(*limits)
