import numpy as np

from recommender.simulation.curves import MEASURES, curves_of
from recommender.simulation.experiment import Outcomes


def outcomes_of(regrets):
    """Two users of two steps, one user's last not taken."""
    nothing = Outcomes.empty(2, 2)
    nothing.regrets[:] = regrets
    nothing.ratings[:] = [[1.0, 2.0], [4.0, np.nan]]
    return nothing


def test_curves_start_with_a_zero_and_are_means_over_users():
    curves = curves_of(outcomes_of([[1.0, 2.0], [3.0, np.nan]]))
    assert set(curves) == set(MEASURES)
    assert curves["rating"].mean.tolist() == [0.0, 2.5, 2.0]
    # deviations -1.5 and 1.5: variance 4.5, error sqrt(4.5/2) = 1.5; of one user there is no error
    np.testing.assert_array_equal(curves["rating"].error, [0.0, 1.5, np.nan])


def test_cumulative_regret_stays_where_it_was_for_who_has_nothing_left():
    curve = curves_of(outcomes_of([[1.0, 2.0], [3.0, np.nan]]))["cumulative_regret"]
    assert curve.mean.tolist() == [0.0, 2.0, 3.0]  # 1 and 3, then 3 and 3
    assert curve.error.tolist() == [0.0, 1.0, 0.0]


def test_a_step_that_nobody_took_has_no_mean():
    curve = curves_of(Outcomes.empty(2, 1))["rating"]
    np.testing.assert_array_equal(curve.mean, [0.0, np.nan])
