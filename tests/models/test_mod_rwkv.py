"""Pooling worked by hand, and the heads on top of the backbone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.codec.layout import RwkvConfig, tensor_shapes  # noqa: E402
from gooseguard.models.mod_rwkv import ModRwkv, ModRwkvConfig, pool  # noqa: E402

BACKBONE = RwkvConfig(
    n_layer=2, n_embd=32, vocab_size=50, head_size=16, n_ffn=48, rank_w=4, rank_a=4, rank_v=4, rank_g=4
)


@pytest.fixture
def model():
    """Two categories, every parameter moved away from its initial value."""
    model = ModRwkv(ModRwkvConfig(BACKBONE, ("toxicity", "insult")), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize("poison", [1e9, -1e9])
def test_pool_by_hand(poison):
    hidden = torch.full((3, 4, 2), poison)
    hidden[0] = torch.tensor([[1.0, -5.0], [3.0, -4.0], [2.0, -3.0], [6.0, -8.0]])
    hidden[1, :2] = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    hidden[2, 0] = torch.tensor([-7.0, 0.5])
    expected = [
        # last, mean and maximum, two channels each
        [6.0, -8.0, 3.0, -5.0, 6.0, -3.0],
        [-3.0, -4.0, -2.0, -3.0, -1.0, -2.0],
        [-7.0, 0.5, -7.0, 0.5, -7.0, 0.5],
    ]
    assert pool(hidden, torch.tensor([4, 2, 1])).tolist() == expected


def test_pool_against_numpy_row_by_row():
    rng = np.random.default_rng(3)
    hidden = rng.normal(size=(5, 40, 7)).astype(np.float32)
    lengths = np.array([40, 1, 16, 17, 33])
    found = pool(torch.from_numpy(hidden), torch.from_numpy(lengths)).numpy()
    for row, length, pooled in zip(hidden, lengths, found, strict=True):
        real = row[:length].astype(np.float64)
        expected = np.concatenate([real[-1], real.mean(0), real.max(0)])
        np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-6)


def test_no_gradient_reaches_the_padding():
    hidden = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    lengths = torch.tensor([5, 2])
    pool(hidden, lengths).square().sum().backward()
    assert (hidden.grad[1, 2:] == 0).all()
    assert (hidden.grad[1, :2] != 0).all()


def test_heads_begin_at_zero():
    model = ModRwkv(ModRwkvConfig(BACKBONE, ("toxicity", "insult", "threat")))
    logits = model(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))
    assert torch.equal(logits, torch.zeros(2, 3))


def test_names_are_those_of_the_backbone_and_the_heads(model):
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    expected = {f"backbone.{name}": shape for name, shape in tensor_shapes(BACKBONE).items()}
    assert shapes == expected | {"categories.weight": (2, 96), "categories.bias": (2,)}


def test_logits_are_the_heads_on_the_pooled_backbone(model):
    generator = torch.Generator().manual_seed(4)
    lengths = [37, 1, 16, 20]
    tokens = torch.randint(0, 50, (4, 37), generator=generator)
    with torch.no_grad():
        logits = model(tokens, torch.tensor(lengths)).numpy()
        for row, length, found in zip(tokens, lengths, logits, strict=True):
            hidden, _ = model.backbone(row[None, :length])
            real = hidden[0].double().numpy()
            pooled = np.concatenate([real[-1], real.mean(0), real.max(0)])
            expected = model.categories.weight.double().numpy() @ pooled + model.categories.bias.numpy()
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_heads_stay_in_float32_under_autocast(model):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(torch.tensor([[1, 2, 3]]), torch.tensor([3])).dtype == torch.float32


def test_seed_decides_the_weights():
    one, same, other = (ModRwkv(ModRwkvConfig(BACKBONE, ("toxicity",)), seed) for seed in (1, 1, 2))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
    assert not torch.equal(one.backbone.emb.weight, other.backbone.emb.weight)
