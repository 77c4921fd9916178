import sys

import numpy as np
import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.evaluation.figures import draw_precision_recall, draw_reliability
from gooseguard.evaluation.scored import LabelledRows, ScoredRows


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 5)) < 0.3).astype(float)
    # One class only: no panel.
    labels[:, 4] = np.nan
    return LabelledRows(("toxicity", "hate", "threat", "insult", "spam"), labels, np.repeat("a", 300))


def scored(rows, seed, name):
    noise = np.random.default_rng(seed).random(rows.labels.shape)
    return ScoredRows(name, (np.nan_to_num(rows.labels) + noise) / 2)


@pytest.mark.parametrize("draw", [draw_precision_recall, draw_reliability])
def test_svg_holds_a_panel_a_category_and_repeats(rows, draw, tmp_path):
    scorers = [scored(rows, 1, "m@1"), scored(rows, 2, "b@2")]
    draw(rows, scorers, tmp_path / "a.svg", ["the model", "the baseline"])
    draw(rows, scorers, tmp_path / "b.svg", ["the model", "the baseline"])
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    # matplotlib writes each string as a comment beside its outlines.
    for name in ("toxicity", "hate", "threat", "insult", "the model", "the baseline"):
        assert f"<!-- {name} -->" in text
    assert "<!-- spam -->" not in text
    assert len(text) < 400_000


def test_png_is_twice_as_wide_as_a_readme(rows, tmp_path):
    draw_precision_recall(rows, [scored(rows, 1, "m@1")], tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") == 1800


def test_a_scorer_without_the_category_is_left_out(rows, tmp_path):
    nothing = ScoredRows("b@2", np.full(rows.labels.shape, np.nan))
    draw_precision_recall(rows, [scored(rows, 1, "m@1"), nothing], tmp_path / "a.svg")
    draw_reliability(rows, [scored(rows, 1, "m@1"), nothing], tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").count("<!-- AP ") == 4


def test_missing_matplotlib_says_what_to_install(rows, tmp_path, monkeypatch):
    # None in sys.modules is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'gooseguard\[train\]'"):
        draw_precision_recall(rows, [scored(rows, 1, "m@1")], tmp_path / "a.png")
