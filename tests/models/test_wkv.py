"""The chunked recurrence and its gradients against the recurrence token by token."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gooseguard.models.wkv import wkv7  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "recurrence.py"
_spec = importlib.util.spec_from_file_location("recurrence", _path)
battery = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(battery)
B, H, N, EXACT, SINGLE = battery.B, battery.H, battery.N, battery.EXACT, battery.SINGLE
error, gradients_of = battery.error, battery.gradients_of

NAMES = ("r", "log_w", "k", "v", "a", "b", "state")
LEAST_LOG_DECAY = -0.6065


def by_token(r, log_w, k, v, a, b, state):
    """Run the definition: S = S diag(w) + (S a) b^T + v k^T, y = S r."""
    y = []
    for t in range(r.shape[1]):
        removed = (state * a[:, t, :, None, :]).sum(-1)
        state = (
            state * log_w[:, t].exp()[:, :, None, :]
            + removed[..., None] * b[:, t, :, None, :]
            + v[:, t, ..., None] * k[:, t, :, None, :]
        )
        y.append((state * r[:, t, :, None, :]).sum(-1))
    return torch.stack(y, 1) if y else torch.zeros_like(r), state


def inputs_of(n_token, seed=0, log_w=None):
    """Draw what a model hands over, float64: removal keys of length 1, rates in (0, 1), and a state."""
    generator = torch.Generator().manual_seed(seed)
    shape = (B, n_token, H, N)
    r, k, v, kk = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4))
    rate, decay = (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    kk = torch.nn.functional.normalize(kk, dim=-1)
    log_w = LEAST_LOG_DECAY * decay if log_w is None else torch.full(shape, log_w, dtype=torch.float64)
    state = torch.randn(B, H, N, N, generator=generator, dtype=torch.float64)
    return [r, log_w, k, v, -kk, kk * rate, state]


class TestWkv7(battery.Recurrence):
    """The battery."""

    names, in_time, masked = NAMES, slice(6), (1, 2, 5)
    chunked, by_token, inputs_of = (staticmethod(function) for function in (wkv7, by_token, inputs_of))

    def test_stays_in_float32_under_autocast(self):
        """Only what no state depends on is rounded: outputs, and gradients, as a layer's products are."""
        inputs = [x.float().requires_grad_() for x in inputs_of(100)]
        expected = wkv7(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            found = wkv7(*inputs)
        assert torch.equal(found[1], expected[1])
        gradients = [torch.autograd.grad(y.sum() + state.sum(), inputs) for y, state in (found, expected)]
        pairs = zip((found[0], *gradients[0]), (expected[0], *gradients[1]), strict=True)
        for name, (one, other) in zip(("y", *NAMES), pairs, strict=True):
            assert one.dtype == torch.float32
            # Half a unit in the last of bfloat16's 8 digits is 0.2 %, or 0.4 %; the gradient of log_w is a
            # difference of sums of such products.
            assert (one - other).norm() / other.norm() < (0.02 if name == "log_w" else 0.01), name
        assert not torch.equal(found[0], expected[0])


@pytest.mark.parametrize("log_w", [LEAST_LOG_DECAY, -1e-6, 0.0])
def test_extreme_decays(log_w):
    # At the least decay a chunk divides by exp(-0.6065 * 16), 6e-5: what float32 loses there is bounded here.
    inputs = inputs_of(64, log_w=log_w)
    expected = by_token(*inputs)
    for dtype, tolerance in ((torch.float64, EXACT), (torch.float32, SINGLE)):
        for found, wanted in zip(wkv7(*(x.to(dtype) for x in inputs)), expected, strict=True):
            assert error(found, wanted) < tolerance
    expected = gradients_of(by_token, inputs)
    for name, found, wanted in zip(
        NAMES, gradients_of(wkv7, [x.float() for x in inputs]), expected, strict=True
    ):
        assert error(found, wanted) < SINGLE, name


@pytest.mark.parametrize("rate", [1.0, 0.999, 0.5])
def test_one_key_again_and_again(rate):
    """A text of one repeated token: every off-diagonal entry of the triangular system is -rate.

    Its inverse has entries of at most 1, while the powers of its nilpotent part, which a Neumann product
    multiplies, grow like binomials: to 3432 in a chunk of 16, to 1.6e8 in one of 32.
    """
    r, _, k, v, a, _, state = inputs_of(64)
    a = a[:, :1].expand_as(a).contiguous()
    inputs = [r, torch.zeros_like(r), k, v, a, -a * rate, state]
    expected = by_token(*inputs)
    for dtype, tolerance in ((torch.float64, EXACT), (torch.float32, SINGLE)):
        for found, wanted in zip(wkv7(*(x.to(dtype) for x in inputs)), expected, strict=True):
            assert error(found, wanted) < tolerance
    expected = gradients_of(by_token, inputs)
    for name, found, wanted in zip(NAMES, gradients_of(wkv7, inputs), expected, strict=True):
        assert error(found, wanted) < EXACT, name
