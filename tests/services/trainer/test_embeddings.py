import io
import sys

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

from recommender.embeddings.training import AutoencoderSettings, PcaSettings
from schemas.errors import ConfigurationError, DataError
from schemas.events import Item
from services.trainer.embeddings import train_embeddings
from streams.models.files import read_file
from streams.models.releases import load_release

GENRES = ("Comedy", "Drama", "Noir", "War")
ITEMS = tuple(
    Item(
        item_id=f"i{row}",
        genres=tuple(genre for bit, genre in enumerate(GENRES) if row >> bit & 1),
        year=1990 + row % 7,
    )
    for row in range(40)
)
SETTINGS = {"autoencoder": AutoencoderSettings(dim=3, hidden=8, epochs=3), "pca": PcaSettings(dim=3)}

pytestmark = pytest.mark.parametrize("kind", ["autoencoder", "pca"])


def test_the_release_holds_every_item_and_loads(tmp_path, kind):
    result = train_embeddings(ITEMS, kind, SETTINGS[kind], str(tmp_path))
    model = load_release(result.release)
    assert model.kind == kind
    assert model.item_ids == tuple(item.item_id for item in ITEMS)
    assert model.vectors.shape == (40, 3)
    assert (model.vectors == result.model.vectors).all()
    assert read_file(result.manifest_uri, 100_000) is not None
    assert result.plot is None


def test_metrics_are_the_last_losses_and_the_sizes(tmp_path, kind):
    result = train_embeddings(ITEMS, kind, SETTINGS[kind], str(tmp_path), name="films", version="1")
    last = result.trained.losses[-1]
    metrics = dict(result.release.metrics)
    assert metrics.pop("seconds") == result.seconds > 0
    assert metrics == {
        "train_loss": last.train,
        "validation_loss": last.validation,
        "baseline_loss": result.trained.baseline,
        "steps": 3.0,
        "items": 40.0,
        "features": 11.0,
        "dim": 3.0,
    }
    assert result.release.label == "films@1"


def test_the_same_items_and_seed_give_the_same_sum(tmp_path, kind):
    first, again = (train_embeddings(ITEMS, kind, SETTINGS[kind], str(tmp_path / run)).release for run in "ab")
    assert first.sha256 == again.sha256


def test_default_settings_give_sixteen_numbers(tmp_path, kind):
    assert train_embeddings(ITEMS, kind, model_dir=str(tmp_path)).model.dim == 16


def test_items_of_unseen_genres_and_years_still_get_a_vector(tmp_path, kind):
    model = train_embeddings(ITEMS, kind, SETTINGS[kind], str(tmp_path)).model
    new = [Item(item_id="n1", genres=("Western", "Noir"), year=2031), Item(item_id="n2", genres=("Noir",), year=1996)]
    vectors, has_vector = model.vectors_for(new)
    assert has_vector.all()
    assert np.isfinite(vectors).all()
    assert (vectors[0] == vectors[1]).all()


def test_progress_shows_step_and_losses(tmp_path, kind):
    with Progress(console=Console(file=io.StringIO())) as progress:
        result = train_embeddings(ITEMS, kind, SETTINGS[kind], str(tmp_path), progress)
    (task,) = progress.tasks
    last = result.trained.losses[-1]
    unit = {"autoencoder": "epoch", "pca": "component"}[kind]
    losses = f"train {last.train:.5f}  validation {last.validation:.5f}"
    assert task.description == f"{kind}: {unit} 3/3  {losses}"
    assert task.finished


def test_the_plot_is_a_picture(tmp_path, kind):
    path = tmp_path / "plots" / "losses.png"
    result = train_embeddings(ITEMS, kind, SETTINGS[kind], str(tmp_path), plot=path)
    assert result.plot == path
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("items", [(), (Item(item_id="a"), Item(item_id="b")), ITEMS[:1]])
def test_too_few_described_items_write_nothing(tmp_path, kind, items):
    described = sum(1 for item in items if item.year)
    with pytest.raises(DataError, match=f"at least 2 items with a genre or a year, got {described} of {len(items)}"):
        train_embeddings(items, kind, SETTINGS[kind], str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_settings_of_the_other_kind_are_refused(tmp_path, kind):
    other = SETTINGS["pca" if kind == "autoencoder" else "autoencoder"]
    with pytest.raises(ValueError, match=f"settings must be those of {kind}, got {type(other).__name__}"):
        train_embeddings(ITEMS, kind, other, str(tmp_path))


def test_an_unknown_kind_is_refused(tmp_path, kind):
    with pytest.raises(ValueError, match=f"kind must be one of autoencoder, pca, got 'deep {kind}'"):
        train_embeddings(ITEMS, f"deep {kind}", None, str(tmp_path))


def test_without_torch_only_the_autoencoder_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.delitem(sys.modules, "recommender.embeddings.autoencoder", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    if kind == "pca":
        assert train_embeddings(ITEMS, kind, SETTINGS[kind], str(tmp_path)).model.dim == 3
    else:
        with pytest.raises(ConfigurationError, match=r"needs torch: install streamrec\[trainer\], or train pca"):
            train_embeddings(ITEMS, kind, SETTINGS[kind], str(tmp_path))
