import subprocess
import sys

import pytest

from recommender.embeddings.training import Loss, TrainedEncoder
from services.trainer.plot import plot_losses

PNG = b"\x89PNG\r\n\x1a\n"


def trained(kind, losses, baseline=0.3):
    return TrainedEncoder(kind, (), (), tuple(losses), baseline)


@pytest.mark.parametrize("kind", ["autoencoder", "pca"])
@pytest.mark.parametrize(
    "losses",
    [
        [Loss(1, 0.2, 0.25), Loss(2, 0.1, 0.2)],
        [Loss(1, 0.2, 0.25)],
        [Loss(1, 0.2, 0.25), Loss(2, 0.0, 0.0)],
        [Loss(1, 0.0, 0.0)],
    ],
)
def test_any_run_is_drawn_as_png(tmp_path, kind, losses):
    path = tmp_path / "new" / "losses.png"
    plot_losses(trained(kind, losses), path, title="items@1")
    assert path.read_bytes().startswith(PNG)


def test_identical_items_are_drawn_without_a_baseline_above_zero(tmp_path):
    plot_losses(trained("pca", [Loss(1, 0.0, 0.0)], baseline=0.0), tmp_path / "losses.png", title="items@1")


def test_no_global_figure_state_is_imported():
    program = "import sys, services.trainer.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
