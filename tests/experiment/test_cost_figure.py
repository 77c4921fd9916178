import pytest

from gooseguard.experiment.cost import Cell
from gooseguard.experiment.cost_figure import draw_cost

LINES = {
    f"batch {batch}": [
        Cell(
            n,
            batch,
            5,
            0.01 * n * batch,
            0.02 * n * batch,
            0.03 * n * batch,
            100 / n,
            100.0,
            None,
            None,
            None,
        )
        for n in (16.0, 64.0)
    ]
    for batch in (1, 8)
}


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_figure(tmp_path, ending, magic):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"cost.{ending}"
    draw_cost(LINES, path, "a model on a machine")
    first = path.read_bytes()
    assert first.startswith(magic)
    draw_cost(LINES, path, "a model on a machine")
    assert path.read_bytes() == first
    draw_cost({"batch 1": LINES["batch 1"]}, path, "a model on a machine")
    assert path.read_bytes() != first
