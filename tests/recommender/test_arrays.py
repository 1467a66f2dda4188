import numpy as np

from recommender.arrays import read_only


def test_read_only_view_leaves_the_array_writable():
    array = np.zeros(2)
    view = read_only(array)
    array[0] = 1.0
    assert view.tolist() == [1.0, 0.0]
