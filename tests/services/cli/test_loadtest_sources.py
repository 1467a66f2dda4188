"""What ``--replay`` names: a file, a generated load, a data set."""

import pytest

from schemas.errors import ConfigurationError, DataError
from services.cli.loadtest_sources import load_source
from streams.settings import Settings

RATINGS = "user,item_id,rating,ts_ms\na,x,4,1000\nb,y,9,2000\na,y,3,3000\nb,x,2,4000\n"


@pytest.fixture
def ratings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ratings.csv"
    path.write_text(RATINGS)
    return str(path)


def test_a_file_is_played_in_its_order_without_its_bad_lines_and_knows_its_items(ratings, capsys):
    load = load_source(ratings, None, {"user_id": "user"}, Settings())
    assert load.keys == [b"a", b"a", b"b"]
    assert load.ts_ms.tolist() == [1000, 3000, 4000]
    assert [item.item_id for item in load.items] == ["x", "y"]
    assert "1 lines were left out" in capsys.readouterr().err


def test_no_more_of_it_is_read_than_can_be_due_and_items_may_come_from_elsewhere(ratings, tmp_path):
    (tmp_path / "items.jsonl").write_text('{"item_id": "x", "genres": ["Drama"]}\n')
    load = load_source(ratings, str(tmp_path / "items.jsonl"), {"user_id": "user"}, Settings(), limit=2)
    assert load.keys == [b"a", b"a"]
    assert [(item.item_id, item.genres) for item in load.items] == [("x", ("Drama",))]


def test_a_generated_load_has_the_settings_seed_and_scale():
    first, again, other = (
        load_source("synthetic:5,6,70", None, None, Settings(seed=seed, rating_max=10.0)) for seed in (1, 1, 2)
    )
    assert first.values == again.values != other.values
    assert len(first) == 70


def test_what_is_no_source_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="USERS,ITEMS,EVENTS"):
        load_source("synthetic:5", None, None, Settings())
    with pytest.raises(DataError, match="not a file"):
        load_source("nowhere.csv", None, None, Settings())
