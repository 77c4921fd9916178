"""Hidden features: the stream after a layer is what a model cut off after that layer ends with."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ConfigError  # noqa: E402
from gooseguard.models.features import capture, check_layers, mean_features  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "tiny_base.py"
_spec = importlib.util.spec_from_file_location("tiny_base", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

TOKENS = torch.tensor([[3, 9, 27, 81, 243, 1, 5, 25], [7, 7, 5, 200, 4, 0, 0, 0]])
LENGTHS = torch.tensor([8, 5])


@pytest.mark.parametrize("version", ["x052", "x060", "x070"])
def test_the_stream_is_where_a_shorter_model_ends(version):
    model = tiny.make_base(version, n_layer=3)
    with capture(model, (0, 1, 2)) as streams:
        model(TOKENS, LENGTHS)
    for n_layer in (1, 2, 3):
        cut = tiny.make_base(version, n_layer=n_layer)
        cut.load_state_dict({name: model.state_dict()[name] for name in cut.state_dict()})
        found = model.ln_out(streams[n_layer - 1])
        for row, length in enumerate(LENGTHS):
            torch.testing.assert_close(found[row, :length], cut(TOKENS, LENGTHS)[0][row, :length])


def test_nothing_is_kept_once_the_block_is_left():
    model = tiny.make_base()
    with pytest.raises(RuntimeError), capture(model, (0, 1)):
        raise RuntimeError
    with capture(model, (1,)) as streams:
        model(TOKENS, LENGTHS)
    assert set(streams) == {1}
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_mean_by_hand_leaves_out_padding():
    stream = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]], [[5.0, 5.0], [99.0, 99.0], [99.0, 99.0]]])
    found = mean_features({0: stream, 4: 2 * stream}, (4, 0), torch.tensor([2, 1]))
    np.testing.assert_array_equal(found.numpy(), [[[4, 8], [2, 4]], [[10, 10], [5, 5]]])


@pytest.mark.parametrize("layer", [-1, 3])
def test_layers_that_are_not_there(layer):
    check_layers((0, 2), 3, "teacher")
    with pytest.raises(ConfigError, match=rf"layer {layer} of the teacher: expected 0 to 2"):
        check_layers((layer,), 3, "teacher")
