"""The recurrence of RWKV-5.2 and RWKV-6 and its gradients against the recurrence token by token."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gooseguard.models.wkv6 import wkv6  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "recurrence.py"
_spec = importlib.util.spec_from_file_location("recurrence", _path)
battery = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(battery)
B, H, N, EXACT, SINGLE = battery.B, battery.H, battery.N, battery.EXACT, battery.SINGLE
error, gradients_of = battery.error, battery.gradients_of

NAMES = ("r", "log_w", "k", "v", "u", "state")


def by_token(r, log_w, k, v, u, state):
    """Run the definition: y = S r + (sum r u k) v, S = S diag(w) + v k^T."""
    y = []
    for t in range(r.shape[1]):
        bonus = (r[:, t] * u * k[:, t]).sum(-1, keepdim=True)
        y.append((state * r[:, t, :, None, :]).sum(-1) + bonus * v[:, t])
        state = state * log_w[:, t].exp()[:, :, None, :] + v[:, t, ..., None] * k[:, t, :, None, :]
    return torch.stack(y, 1) if y else torch.zeros_like(r), state


def inputs_of(n_token, seed=0, log_w=None):
    """Draw what a model hands over, float64: decays from exp(-exp(-6)) to exp(-exp(1)), and a state."""
    generator = torch.Generator().manual_seed(seed)
    shape = (B, n_token, H, N)
    r, k, v, rate = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4))
    spread = torch.rand(shape, generator=generator, dtype=torch.float64)
    drawn = -torch.exp(7 * spread - 6) + 0 * rate
    log_w = drawn if log_w is None else torch.full(shape, log_w, dtype=torch.float64)
    u = torch.randn(H, N, generator=generator, dtype=torch.float64)
    state = torch.randn(B, H, N, N, generator=generator, dtype=torch.float64)
    return [r, log_w, k, v, u, state]


class TestWkv6(battery.Recurrence):
    """The battery."""

    names, in_time, masked = NAMES, slice(4), (1, 2)
    chunked, by_token, inputs_of = (staticmethod(function) for function in (wkv6, by_token, inputs_of))


@pytest.mark.parametrize("log_w", [-1e30, -1000.0, -100.0, -30.0, -18.0, -10.0, -3.0, -1e-6, 0.0])
def test_extreme_decays(log_w):
    # A token that forgets everything: exp(-sum) underflows, and its inverse would be infinite.
    inputs = inputs_of(70, log_w=log_w)
    expected = by_token(*inputs)
    for found, wanted in zip(wkv6(*(x.float() for x in inputs)), expected, strict=True):
        assert error(found, wanted) < SINGLE
    expected = gradients_of(by_token, inputs)
    for name, found, wanted in zip(
        NAMES, gradients_of(wkv6, [x.float() for x in inputs]), expected, strict=True
    ):
        if name == "log_w":
            # The difference of two sums over tokens, of the size of k dk, and itself near 0 where a token
            # forgets all: what counts is the error against the sums.
            scale = (inputs[2] * expected[2]).abs().max()
            assert (found.double() - wanted).abs().max() < SINGLE * scale
        else:
            assert error(found, wanted) < SINGLE, name


def test_some_tokens_forget_everything_and_others_nothing():
    r, log_w, k, v, u, state = inputs_of(100)
    generator = torch.Generator().manual_seed(5)
    kind = torch.randint(0, 4, log_w.shape, generator=generator)
    for index, value in enumerate((-1e4, -17.0, -1e-4)):
        log_w = torch.where(kind == index, value, log_w)
    inputs = [r, log_w, k, v, u, state]
    for found, wanted in zip(wkv6(*(x.float() for x in inputs)), by_token(*inputs), strict=True):
        assert error(found, wanted) < SINGLE
    expected = gradients_of(by_token, inputs)
    found = gradients_of(wkv6, [x.float() for x in inputs])
    for name, one, wanted in zip(NAMES, found, expected, strict=True):
        assert torch.isfinite(one).all(), name
        assert error(one, wanted) < SINGLE, name
