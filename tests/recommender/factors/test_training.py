import numpy as np
import pytest

from recommender.factors.training import FactorSettings, Ratings, surprises_of, train_factors
from schemas.events import Item

SMALL = FactorSettings(dim=4, parts=2, rounds=6, ridge=1.0, title_words=0)
GENRES = ("Drama", "War")


def tastes(seed=1, n_users=80, n_items=60):
    """Half of the people like one genre by a star more than the other, the others the reverse."""
    rng = np.random.default_rng(seed)
    items = [Item(item_id=f"i{row}", genres=(GENRES[row % 2],)) for row in range(n_items)]
    users, rows = np.nonzero(rng.random((n_users, n_items)) < 0.4)
    liked = (users + rows) % 2 == 0
    values = 3.0 + np.where(liked, 1.0, -1.0) + rng.normal(scale=0.3, size=len(users))
    return items, Ratings(users.astype(np.int64), rows.astype(np.int64), values)


@pytest.fixture(scope="module")
def trained():
    items, ratings = tastes()
    return items, ratings, train_factors(items, ratings, SMALL)


def test_surprises_are_against_what_the_others_say():
    ratings = Ratings(np.array([0, 1, 0]), np.array([0, 0, 1]), np.array([5.0, 3.0, 4.0]))
    # m = 4; item 0 without the 5: (3 + 20)/6, without the 3: (5 + 20)/6; item 1 has no other rating: 4
    assert surprises_of(ratings, 2, 5.0) == pytest.approx([5 - 23 / 6, 3 - 25 / 6, 0.0])


def test_the_same_input_gives_the_same_model_and_another_seed_another(trained):
    items, ratings, model = trained
    again = train_factors(items, ratings, SMALL)
    assert again.vectors.tobytes() == model.vectors.tobytes()
    assert again.prior.covariance.tobytes() == model.prior.covariance.tobytes()
    other = train_factors(items, ratings, FactorSettings(dim=4, parts=2, rounds=6, ridge=1.0, title_words=0, seed=8))
    assert other.vectors.tobytes() != model.vectors.tobytes()


def test_the_prior_knows_that_tastes_go_by_genre(trained):
    items, _, model = trained
    x = model.align(items).vectors
    kernel = x @ model.prior.covariance @ x.T
    same = (np.arange(len(items))[:, None] + np.arange(len(items))) % 2 == 0
    assert kernel[same].mean() > 0.5
    assert kernel[~same].mean() < -0.5


def test_noise_is_what_was_put_in(trained):
    # The noise was drawn with variance 0.09; the shrunk means add some. Nothing explained would leave 1.09.
    assert 0.06 < trained[2].prior.noise < 0.2


def test_a_new_item_is_placed_by_its_content(trained):
    _, _, model = trained
    new = [Item(item_id="new 0", genres=("Drama",)), Item(item_id="new 1", genres=("War",))]
    x, old = model.align(new).vectors, model.align([Item(item_id="i0"), Item(item_id="i1")]).vectors
    kernel = x @ model.prior.covariance @ old.T
    assert kernel[0, 0] > 0.3 > -0.3 > kernel[0, 1]
    assert kernel[1, 1] > 0.3 > -0.3 > kernel[1, 0]


def test_items_nobody_rated_are_left_to_their_content():
    items, ratings = tastes()
    more = [*items, Item(item_id="unrated", genres=("War",))]
    model = train_factors(more, ratings, SMALL)
    assert "unrated" not in model.item_ids
    assert len(model.item_ids) == len(np.unique(ratings.rows))


def test_each_round_is_told_and_explains_more_in_the_end():
    items, ratings = tastes()
    rounds = []
    train_factors(items, ratings, SMALL, rounds.append)
    assert [(each.part, each.number) for each in rounds] == [
        (part, number) for part in (1, 2) for number in range(1, 7)
    ]
    assert rounds[5].noise < rounds[0].noise
    assert rounds[11].noise < rounds[6].noise


def test_parts_side_by_side_have_the_mean_of_their_products():
    items, ratings = tastes()
    both = train_factors(items, ratings, SMALL)
    x = both.align(items).vectors
    joined = x @ both.prior.covariance @ x.T
    first, second = x[:, [0, 1, 2]], x[:, [0, 3, 4]]
    corner = both.prior.covariance[0, 0]
    cross = x[:, 1:3] @ both.prior.covariance[1:3, 3:5] @ x[:, 3:5].T
    assert (cross == 0).all()
    apart = first @ both.prior.covariance[:3, :3] @ first.T
    apart += second @ both.prior.covariance[np.ix_([0, 3, 4], [0, 3, 4])] @ second.T - corner
    np.testing.assert_allclose(joined, apart, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"dim": 12}, "dim must be a multiple of parts, 8, got 12"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"ridge": 0.0}, "ridge must be finite and above 0, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(given, why):
    with pytest.raises(ValueError, match=why):
        FactorSettings(**given)


def test_no_rating_is_refused():
    nothing = Ratings(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    with pytest.raises(ValueError, match="at least 1 rating"):
        train_factors(tastes()[0], nothing, SMALL)
