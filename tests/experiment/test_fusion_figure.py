import numpy as np
import pytest

pytest.importorskip("matplotlib")

from gooseguard.experiment.fusion_figure import draw_examples, draw_fusion
from gooseguard.experiment.scenes import draw_items


def row(condition, case, kind, training, value):
    found = {
        "value": value,
        "low": None if value is None else value - 0.1,
        "high": None if value is None else value + 0.1,
    }
    return {"condition": condition, "case": case, "fusion": kind, "training": training, "auc": found}


def test_every_condition_has_a_panel_and_every_head_its_marks(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    rows = [
        row(condition, case, kind, training, 0.5 + 0.1 * place)
        for condition in ("complete", "text missing")
        for kind in ("early", "late")
        for training in ("balanced", "imbalanced")
        for place, case in enumerate(("text", "any"))
    ]
    rows.append(row("complete", "gone", "early", "balanced", None))
    draw_fusion({"table": rows}, tmp_path / "a.svg")
    panels = figures[0].axes
    assert [panel.get_title(loc="left") for panel in panels] == ["complete", "text missing"]
    marks = [container.lines[0] for container in panels[0].containers]
    assert [mark.get_ydata().tolist() for mark in marks] == [[0.5, 0.6]] * 4
    assert len({tuple(mark.get_xdata().tolist()) for mark in marks}) == 4
    # Hollow marks are of imbalanced training.
    assert [mark.get_markerfacecolor() == "white" for mark in marks] == [False, True, False, True]
    assert panels[0].get_legend_handles_labels()[1][0] == "early, balanced"


def test_examples_show_pictures_over_captions(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    items = draw_items(12, {"text": 0.5, "image": 0.1}, np.random.default_rng(0))
    draw_examples(items, tmp_path / "a.png")
    lines = np.array(figures[0].axes).reshape(3, 5)
    assert [line[0].get_title(loc="left") for line in lines] == [
        "harm in: image",
        "harm in: none",
        "harm in: text",
    ]
    texts = [item.content.parts[0].text for item in items if item.case == "text"]
    assert [panel.get_xlabel().replace("\n", " ") for panel in lines[2]] == texts[:5]
    assert [len(panel.images) for panel in lines[0]] == [1, 0, 0, 0, 0]
