import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lab import cells


@pytest.mark.parametrize(
    ("cell", "genres"),
    [
        ("['Crime', 'Drama']", ["Crime", "Drama"]),
        ('["Children\'s"]', ["Children's"]),
        ("('Crime',)", ["('Crime',)"]),
        ("Crime|Drama", ["Crime", "Drama"]),
        (" Crime | Drama |", ["Crime", "Drama"]),
        ("Comedy", ["Comedy"]),
        ("[]", []),
        ("(no genres listed)", []),
        (["Crime"], ["Crime"]),
        (("Crime",), ["Crime"]),
        ("[__import__('os').getpid()]", "[__import__('os').getpid()]"),
        ("['Crime'", "['Crime'"),
        ("[" * 5_000, "[" * 5_000),
        ("[" + "1," * 6_000 + "]", "[" + "1," * 6_000 + "]"),
        (3, 3),
    ],
)
def test_genres(cell, genres):
    assert cells.read_genres(cell) == genres


@pytest.mark.parametrize(
    ("cell", "year"),
    [
        ("[1994]", 1994),
        (" [1994]", 1994),
        ("['1994']", 1994),
        ("[1994, 1995]", [1994, 1995]),
        ([1994], 1994),
        (1994.0, 1994),
        (1994.5, 1994.5),
        ("1994", 1994),
        (" 1994.0 ", 1994),
        ("[]", None),
        ("[None]", None),
        ("soon", "soon"),
        ("1_994", "1_994"),
    ],
)
def test_year(cell, year):
    assert cells.read_year(cell) == year


@given(st.lists(st.text(min_size=1, max_size=20), max_size=5))
def test_any_printed_list_of_genres_is_read_back(genres):
    assert cells.read_genres(str(genres)) == genres


@given(st.text(max_size=200))
def test_no_text_makes_a_reader_fail(text):
    for read in (
        cells.read_number,
        cells.read_integer,
        cells.read_genres,
        cells.read_year,
        cells.read_attributes,
        cells.read_literal,
    ):
        read(text)
