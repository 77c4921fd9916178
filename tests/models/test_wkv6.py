"""The recurrence of RWKV-5.2 and RWKV-6 and its gradients against the recurrence token by token."""

import pytest

torch = pytest.importorskip("torch")

from gooseguard.models.wkv6 import wkv6  # noqa: E402

B, H, N = 2, 3, 8
LENGTHS = (0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 37, 64, 100)
NAMES = ("r", "log_w", "k", "v", "u", "state")
EXACT = 1e-11
"""Relative; of float64, where one way of summing differs from another in the last digits."""
SINGLE = 1e-4
"""Relative; of float32 against float64."""


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


def error(found, expected):
    """Give the largest difference relative to the largest value."""
    if expected.numel() == 0:
        return 0.0
    return ((found.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-300)).item()


def gradients_of(function, inputs, share_of_y=1.0, share_of_state=1.0):
    """Give the gradients of a fixed mixture of all that `function` gives, in every input."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    y, state = function(*inputs)
    generator = torch.Generator().manual_seed(99)
    of_y, of_state = (
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) for x in (y, state)
    )
    loss = share_of_y * (y * of_y).sum() + share_of_state * (state * of_state).sum()
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("n_token", LENGTHS)
def test_is_the_recurrence(n_token):
    inputs = inputs_of(n_token)
    expected_y, expected_state = by_token(*inputs)
    y, state = wkv6(*inputs)
    assert y.shape == (B, n_token, H, N)
    assert error(y, expected_y) < EXACT
    assert error(state, expected_state) < EXACT
    y, state = wkv6(*(x.float() for x in inputs))
    assert y.dtype == state.dtype == torch.float32
    assert error(y, expected_y) < SINGLE
    assert error(state, expected_state) < SINGLE


def test_no_state_is_the_zero_state():
    inputs = inputs_of(37)[:5]
    expected = by_token(*inputs, torch.zeros(B, H, N, N, dtype=torch.float64))
    for found, wanted in zip(wkv6(*inputs), expected, strict=True):
        assert error(found, wanted) < EXACT


@pytest.mark.parametrize("cuts", [(0, 37), (1, 2, 18), (16, 32), (15, 31, 36), (5, 5)])
def test_pieces_with_the_state_carried_over_are_one_call(cuts):
    *inputs, u, state = inputs_of(37)
    expected_y, expected_state = wkv6(*inputs, u, state)
    parts = []
    for begin, end in zip((0, *cuts), (*cuts, 37), strict=True):
        y, state = wkv6(*(x[:, begin:end] for x in inputs), u, state)
        parts.append(y)
    assert error(torch.cat(parts, 1), expected_y) < EXACT
    assert error(state, expected_state) < EXACT


@pytest.mark.parametrize("n_token", [1, 16, 17, 64, 100])
def test_gradients_of_every_input(n_token):
    inputs = inputs_of(n_token, seed=n_token)
    expected = gradients_of(by_token, inputs)
    exact = gradients_of(wkv6, inputs)
    single = gradients_of(wkv6, [x.float() for x in inputs])
    for i, name in enumerate(NAMES):
        assert exact[i].shape == inputs[i].shape
        assert error(exact[i], expected[i]) < EXACT, name
        assert error(single[i], expected[i]) < SINGLE, name


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0)])
def test_gradient_of_the_outputs_alone_and_of_the_state_alone(shares):
    inputs = inputs_of(50)
    found, expected = (gradients_of(function, inputs, *shares) for function in (wkv6, by_token))
    for name, one, other in zip(NAMES, found, expected, strict=True):
        assert error(one, other) < EXACT, name


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


def test_padded_tokens_change_nothing_before_or_after():
    # As the backbone masks them: no decay, nothing written; r and v are anything.
    r, log_w, k, v, u, state = inputs_of(50)
    real = 21
    log_w[:, real:], k[:, real:] = 0, 0
    y, after = wkv6(r, log_w, k, v, u, state)
    expected_y, expected_after = by_token(*(x[:, :real] for x in (r, log_w, k, v)), u, state)
    assert error(y[:, :real], expected_y) < EXACT
    assert error(after, expected_after) < EXACT


def test_stays_in_float32_under_autocast():
    # As in training: forward inside the context, backward outside of it.
    inputs = [x.float().requires_grad_() for x in inputs_of(37)]
    expected = wkv6(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = wkv6(*inputs)
    gradients = [torch.autograd.grad(y.sum() + state.sum(), inputs) for y, state in (found, expected)]
    for one, other in zip((*found, *gradients[0]), (*expected, *gradients[1]), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_inputs_are_not_written_to():
    inputs = [x.float() for x in inputs_of(37)]
    copies = [x.clone() for x in inputs]
    wkv6(*inputs)
    for one, other in zip(inputs, copies, strict=True):
        assert torch.equal(one, other)
