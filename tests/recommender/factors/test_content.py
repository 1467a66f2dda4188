import pytest

from recommender.embeddings.features import FeatureEncoder
from recommender.factors.content import ContentEncoder, words_of
from schemas.errors import ModelError
from schemas.events import Item

ITEMS = [
    Item(item_id="a", title="Red Dawn (1984)", genres=("Drama",), year=1984),
    Item(item_id="b", title="The Red Shoes", genres=("Drama",), year=1948),
    Item(item_id="c", title="Dawn Patrol", genres=("War",), year=1984),
]


def test_words_are_those_that_enough_titles_have():
    encoder = ContentEncoder.fit(ITEMS, 2)
    assert encoder.words == ("dawn", "red")
    # Drama, War; 1948, 1984; dawn, red
    assert encoder.encode(ITEMS).tolist() == [[1, 0, 0, 1, 1, 1], [1, 0, 1, 0, 0, 1], [0, 1, 0, 1, 1, 0]]


def test_years_single_letters_and_case_make_no_words():
    assert words_of("M (1931) RED red's") == {"red"}


def test_an_item_of_which_nothing_is_known_has_no_column():
    assert not ContentEncoder.fit(ITEMS, 2).encode([Item(item_id="new", title="Plain", genres=("Noir",))]).any()


def test_an_encoder_comes_back_from_its_state():
    encoder = ContentEncoder.fit(ITEMS, 1)
    assert ContentEncoder.from_state(encoder.to_state()) == encoder


@pytest.mark.parametrize(
    "broken",
    [{"words": None}, {"words": [1]}, {"words": ["b", "a"]}, {"genres": None}, {"years": ["1990"]}],
)
def test_a_state_that_is_none_is_refused(broken):
    state = ContentEncoder.fit(ITEMS, 1).to_state() | broken
    with pytest.raises(ModelError, match="content"):
        ContentEncoder.from_state(state)


def test_words_must_be_sorted():
    with pytest.raises(ValueError, match="sorted and distinct"):
        ContentEncoder(FeatureEncoder(("Drama",), ()), ("b", "a"))
