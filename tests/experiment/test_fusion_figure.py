import pytest

pytest.importorskip("matplotlib")

from gooseguard.experiment.fusion_figure import draw_fusion


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
