import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.evaluation.robustness import Curve, Point
from gooseguard.evaluation.runs import Rates
from gooseguard.metrics.resampling import Estimate

pytest.importorskip("matplotlib")

from gooseguard.evaluation.robustness_figure import draw_robustness


def curve(name, kind, values):
    points = [
        Point(strength, 10, Rates(5, 5, *(Estimate(value, value - 0.1, value + 0.1),) * 3))
        for strength, value in enumerate(values)
    ]
    return Curve(name, "image", kind, tuple(points))


CURVES = [
    curve("one", "blur", (0.9, 0.7)),
    curve("two", "blur", (0.8, 0.75)),
    curve("one", "jpeg", (0.9, 0.85)),
]


@pytest.mark.parametrize("statistic", ["auc", "fpr", "fnr"])
def test_every_damage_has_a_panel_and_every_model_a_line(statistic, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    draw_robustness(CURVES, statistic, tmp_path / "a.svg")
    shown = [axes for axes in figures[0].axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in shown] == ["image: blur", "image: jpeg"]
    assert [line.get_ydata().tolist() for line in shown[0].lines] == [[0.9, 0.7], [0.8, 0.75]]
    assert [line.get_label() for line in shown[0].lines] == ["one", "two"]
    assert (tmp_path / "a.svg").read_text("utf-8").startswith("<?xml")


def test_nothing_to_draw(tmp_path):
    for curves, statistic in (([], "auc"), (CURVES, "f1")):
        with pytest.raises(ConfigError, match="expected auc, fpr, fnr"):
            draw_robustness(curves, statistic, tmp_path / "a.png")
