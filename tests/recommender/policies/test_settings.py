import math

import pytest

from recommender.policies import PolicySettings


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"s": 0.0}, "s must be positive and finite, got 0.0"),
        ({"s": math.nan}, "s must be positive and finite, got nan"),
        ({"k0": -1.0}, "k0 must be positive and finite, got -1.0"),
        ({"c": -0.1}, r"c must be in \[0, inf\), got -0.1"),
        ({"prior": math.inf}, "prior must be finite, got inf"),
        ({"epsilon": 1.5}, r"epsilon must be in \[0, 1\], got 1.5"),
        ({"compat_epsilon": -0.5}, r"compat_epsilon must be in \[0, 1\], got -0.5"),
        ({"epsilon_decay": "linear"}, "epsilon_decay must be fixed or sqrt, got 'linear'"),
    ],
)
def test_parameters_out_of_range_are_refused_with_the_range(changed, message):
    with pytest.raises(ValueError, match=message):
        PolicySettings(**changed)
