"""The backbone against the NumPy reference; batches, pieces and the shallow form against itself."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.codec.layout import RwkvConfig, infer_config, tensor_shapes  # noqa: E402
from gooseguard.core.errors import EngineError  # noqa: E402
from gooseguard.engine import reference  # noqa: E402
from gooseguard.models.rwkv import Rwkv, State, zero_state  # noqa: E402

_path = Path(__file__).parents[1] / "parity" / "random_model.py"
_spec = importlib.util.spec_from_file_location("random_model", _path)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

SMALL = RwkvConfig(
    n_layer=3, n_embd=32, vocab_size=50, head_size=16, n_ffn=48, rank_w=4, rank_a=4, rank_v=4, rank_g=4
)
EAGLE = RwkvConfig(3, 32, 50, head_size=16, n_ffn=48, version="x052")
FINCH = RwkvConfig(3, 32, 50, head_size=16, n_ffn=48, rank_w=4, rank_mix=4, version="x060")
TOLERANCE = 1e-4
"""Of float32 against float64, as in tests/parity."""


def backbone_of(config, seed):
    """Give random tensors and the torch backbone that has them."""
    tensors = random_model.random_tensors(config, np.random.default_rng(seed))
    model = Rwkv(config)
    model.load_state_dict({name: torch.from_numpy(tensors[name]) for name in tensor_shapes(config)})
    return tensors, model.eval()


@pytest.fixture(scope="module")
def small():
    return backbone_of(SMALL, 5)


def difference(one, other):
    return (one - other).abs().max().item()


@pytest.mark.parametrize("n_token", [300, 513])
def test_four_heads_against_the_reference(n_token):
    config = random_model.four_heads()
    tensors, model = backbone_of(config, 7)
    tokens = np.random.default_rng(n_token).integers(0, config.vocab_size, (1, n_token))
    expected, after = reference.forward(config, tensors, tokens, dtype=np.float64)
    with torch.inference_mode():
        hidden, state = model(torch.from_numpy(tokens))
    assert hidden.shape == expected.shape
    assert np.abs(hidden.numpy() - expected).max() < TOLERANCE
    for name in State.__slots__:
        assert np.abs(getattr(state, name).numpy() - getattr(after, name)).max() < TOLERANCE, name


@torch.inference_mode()
def test_a_ragged_batch_is_each_row_alone(small):
    tensors, model = small
    lengths = [37, 1, 16, 0, 30]
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50, (5, 40))
    shape = (5, 3, 32), (5, 3, 2, 16, 16), (5, 3, 32)
    begin = [torch.from_numpy(rng.normal(size=size).astype(np.float32)).transpose(0, 1) for size in shape]
    hidden, after = model(torch.from_numpy(tokens), torch.tensor(lengths), State(*begin))
    for row, length in enumerate(lengths):
        own = [part[:, row : row + 1] for part in begin]
        expected, state = reference.forward(
            SMALL, tensors, tokens[row : row + 1, :length], reference.State(*(part.numpy() for part in own))
        )
        np.testing.assert_allclose(hidden[row : row + 1, :length], expected, rtol=0, atol=TOLERANCE)
        for name in State.__slots__:
            found = getattr(after, name)[:, row : row + 1]
            np.testing.assert_allclose(found, getattr(state, name), rtol=0, atol=TOLERANCE)


@torch.inference_mode()
def test_pieces_of_different_lengths_are_one_call(small):
    _, model = small
    generator = torch.Generator().manual_seed(1)
    first, second = [20, 3, 17, 0], [5, 33, 0, 8]
    rows = [torch.randint(0, 50, (n + m,), generator=generator) for n, m in zip(first, second, strict=True)]

    def batch(parts):
        tokens = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=49)
        return tokens, torch.tensor([len(part) for part in parts])

    whole, after_whole = model(*batch(rows))
    begin, between = model(*batch([row[:n] for row, n in zip(rows, first, strict=True)]))
    end, after = model(*batch([row[n:] for row, n in zip(rows, first, strict=True)]), between)
    for row, (n, m) in enumerate(zip(first, second, strict=True)):
        parts = torch.cat([begin[row, :n], end[row, :m]])
        assert difference(parts, whole[row, : n + m]) < 1e-5
    for name in State.__slots__:
        assert difference(getattr(after, name), getattr(after_whole, name)) < 1e-5, name


@torch.inference_mode()
def test_no_tokens_leave_the_state_as_it_is(small):
    _, model = small
    _, state = model(torch.tensor([[1, 2, 3]]))
    hidden, after = model(torch.zeros((1, 0), dtype=torch.long), None, state)
    assert hidden.shape == (1, 0, 32)
    for name in State.__slots__:
        assert torch.equal(getattr(after, name), getattr(state, name))


@torch.inference_mode()
@pytest.mark.parametrize("config", [SMALL, EAGLE, FINCH], ids=lambda config: config.version)
def test_blocks_begin_as_the_identity(config):
    model = Rwkv(config, seed=3)
    tokens = torch.randint(0, 50, (2, 21), generator=torch.Generator().manual_seed(0))
    full, _ = model(tokens)
    model.is_shallow = True
    shallow, state = model(tokens)
    assert torch.equal(full, shallow)
    assert shallow.std() > 0.1
    zeros = zero_state(config, 2)
    for name in State.__slots__:
        assert torch.equal(getattr(state, name), getattr(zeros, name))


def test_shallow_is_another_model_once_the_blocks_have_learnt(small):
    _, model = small
    tokens = torch.tensor([[1, 2, 3, 4]])
    with torch.inference_mode():
        full, _ = model(tokens)
        model.is_shallow = True
        shallow, _ = model(tokens)
        model.is_shallow = False
    assert difference(full, shallow) > 0.1


def test_names_and_shapes_are_the_official_ones():
    for config in (SMALL, random_model.four_heads(), RwkvConfig(1, 64, 300), EAGLE, FINCH):
        shapes = {name: tuple(tensor.shape) for name, tensor in Rwkv(config).state_dict().items()}
        assert shapes == tensor_shapes(config)
        assert infer_config(shapes) == config
        with_head = Rwkv(config, has_head=True).state_dict()
        assert with_head.keys() - shapes.keys() == {"head.weight"}


@pytest.mark.parametrize("config", [SMALL, EAGLE, FINCH], ids=lambda config: config.version)
def test_seed_decides_every_value(config):
    one, same, other = (Rwkv(config, seed, has_head=True).state_dict() for seed in (1, 1, 2))
    for name, tensor in one.items():
        assert torch.isfinite(tensor).all(), name
        assert torch.equal(tensor, same[name]), name
    for name in ("emb.weight", "head.weight", "blocks.0.att.key.weight"):
        assert not torch.equal(one[name], other[name])


@pytest.mark.parametrize("config", [EAGLE, FINCH], ids=lambda config: config.version)
def test_every_parameter_of_the_earlier_versions_is_learnt(config):
    _, model = backbone_of(config, 5)
    hidden, _ = model(torch.randint(0, 50, (2, 20), generator=torch.Generator().manual_seed(0)))
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
    (hidden * weights).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_what_a_model_cannot_do_is_said():
    model = Rwkv(EAGLE)
    with pytest.raises(EngineError, match="no language head"):
        model.logits(torch.zeros(1, 32))
    with pytest.raises(EngineError, match="no tokens"):
        model.prefill(torch.zeros((2, 0), dtype=torch.long))
    with pytest.raises(EngineError, match="no tokens"):
        model.prefill(torch.zeros((2, 3), dtype=torch.long), torch.tensor([3, 0]))


def test_every_parameter_is_learnt(small):
    # A parameter that no gradient reaches would stay at its initial value unnoticed.
    _, model = small
    hidden, _ = model(torch.randint(0, 50, (2, 20), generator=torch.Generator().manual_seed(0)))
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
    (hidden * weights).sum().backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    model.zero_grad(set_to_none=True)
    assert untouched == []


def test_bfloat16_matrices_are_near_float32(small):
    _, model = small
    tokens = torch.randint(0, 50, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact, _ = model(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            rough, state = model(tokens)
    assert rough.dtype == state.wkv.dtype == torch.float32
    assert 1e-4 < difference(rough, exact) < 0.2
