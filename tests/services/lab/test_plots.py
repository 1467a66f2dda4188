import numpy as np
import pytest

from recommender.simulation.curves import MEASURES, Curve
from services.lab.plots import draw_html, draw_png, make_panels


@pytest.fixture
def curves():
    curve = Curve(mean=np.array([0.0, 4.0, 9.0]), error=np.array([0.0, 1.0, np.nan]))
    return {"greedy": dict.fromkeys(MEASURES, curve), "mine:Policy": dict.fromkeys(MEASURES, curve)}


def test_regret_begins_at_step_0_and_the_others_at_step_1(curves):
    panels = make_panels(curves, "compat")
    assert [panel.lines[0].steps.tolist() for panel in panels] == [[0, 1, 2], [1, 2], [1, 2], [1, 2]]
    assert [line.policy for line in panels[0].lines] == ["greedy", "mine:Policy"]


def test_bands_are_two_sided_and_95_percent(curves):
    line = make_panels(curves, "compat")[2].lines[0]
    np.testing.assert_allclose([line.low[0], line.high[0]], [4.0 - 1.96, 4.0 + 1.96])
    assert np.isnan(line.low[1])


def test_the_error_is_a_root_in_default_mode_only(curves):
    compat, default = (make_panels(curves, mode)[1] for mode in ("compat", "default"))
    assert compat.lines[0].mean.tolist() == [4.0, 9.0]
    assert default.lines[0].mean.tolist() == [2.0, 3.0]
    np.testing.assert_allclose(default.lines[0].high[0], np.sqrt(4.0 + 1.96))
    assert (compat.title, default.title) == (
        "squared error of the prediction",
        "root mean squared error of the prediction",
    )


def test_seconds_are_drawn_as_microseconds_above_zero(curves):
    line = make_panels(curves, "compat")[3].lines[0]
    assert line.mean.tolist() == [4e6, 9e6]
    assert line.low[0] > 0


def test_the_page_is_a_png_and_an_html_that_asks_no_network(curves, tmp_path):
    panels = make_panels(curves, "compat")
    draw_png(panels, "title", tmp_path / "curves.png")
    draw_html(panels, "a title", tmp_path / "curves.html")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "curves.html").read_text()
    assert "a title" in page
    assert "mine:Policy" in page
    assert 'src="http' not in page
    assert all(panel.title in page for panel in panels)
