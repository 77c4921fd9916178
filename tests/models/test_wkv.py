"""The chunked recurrence and its gradients against the recurrence token by token."""

import pytest

torch = pytest.importorskip("torch")

from gooseguard.models.wkv import CHUNK, wkv7  # noqa: E402

B, H, N = 2, 3, 8
LENGTHS = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 37, 64, 100)
NAMES = ("r", "log_w", "k", "v", "a", "b", "state")
LEAST_LOG_DECAY = -0.6065
EXACT = 1e-11
"""Relative; of float64, where one way of summing differs from another in the last digits."""
SINGLE = 1e-4
"""Relative; of float32 against float64."""


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
    y, state = wkv7(*inputs)
    assert y.shape == (B, n_token, H, N)
    assert error(y, expected_y) < EXACT
    assert error(state, expected_state) < EXACT
    y, state = wkv7(*(x.float() for x in inputs))
    assert y.dtype == state.dtype == torch.float32
    assert error(y, expected_y) < SINGLE
    assert error(state, expected_state) < SINGLE


def test_no_state_is_the_zero_state():
    inputs = inputs_of(37)[:6]
    expected = by_token(*inputs, torch.zeros(B, H, N, N, dtype=torch.float64))
    for found, wanted in zip(wkv7(*inputs), expected, strict=True):
        assert error(found, wanted) < EXACT


@pytest.mark.parametrize("cuts", [(0, 37), (1, 2, 18), (16, 32), (15, 31, 36), (5, 5)])
def test_pieces_with_the_state_carried_over_are_one_call(cuts):
    *inputs, state = inputs_of(37)
    expected_y, expected_state = wkv7(*inputs, state)
    parts = []
    for begin, end in zip((0, *cuts), (*cuts, 37), strict=True):
        y, state = wkv7(*(x[:, begin:end] for x in inputs), state)
        parts.append(y)
    assert error(torch.cat(parts, 1), expected_y) < EXACT
    assert error(state, expected_state) < EXACT


@pytest.mark.parametrize("n_token", [1, 16, 17, 64])
def test_gradients_of_every_input(n_token):
    inputs = inputs_of(n_token, seed=n_token)
    expected = gradients_of(by_token, inputs)
    exact = gradients_of(wkv7, inputs)
    single = gradients_of(wkv7, [x.float() for x in inputs])
    for i, name in enumerate(NAMES):
        assert exact[i].shape == inputs[i].shape
        assert error(exact[i], expected[i]) < EXACT, name
        assert error(single[i], expected[i]) < SINGLE, name


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0)])
def test_gradient_of_the_outputs_alone_and_of_the_state_alone(shares):
    inputs = inputs_of(20)
    found, expected = (gradients_of(function, inputs, *shares) for function in (wkv7, by_token))
    for name, one, other in zip(NAMES, found, expected, strict=True):
        assert error(one, other) < EXACT, name


def test_a_loss_that_reads_no_state_gives_the_gradient_of_the_outputs():
    inputs = [x.requires_grad_() for x in inputs_of(20)]
    found = torch.autograd.grad(wkv7(*inputs)[0].square().sum(), inputs)
    expected = torch.autograd.grad(by_token(*inputs)[0].square().sum(), inputs)
    for name, one, other in zip(NAMES, found, expected, strict=True):
        assert error(one, other) < EXACT, name


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


def test_padded_tokens_change_nothing_before_or_after():
    # As the backbone masks them: no decay, nothing removed, nothing written; r, v and a are anything.
    *inputs, state = inputs_of(50)
    real = 21
    for i in (1, 2, 5):
        inputs[i][:, real:] = 0
    y, after = wkv7(*inputs, state)
    expected_y, expected_after = by_token(*(x[:, :real] for x in inputs), state)
    assert error(y[:, :real], expected_y) < EXACT
    assert error(after, expected_after) < EXACT


def test_stays_in_float32_under_autocast():
    # As in training: forward inside the context, backward outside of it.
    inputs = [x.float().requires_grad_() for x in inputs_of(37)]
    expected = wkv7(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = wkv7(*inputs)
    gradients = [torch.autograd.grad(y.sum() + state.sum(), inputs) for y, state in (found, expected)]
    for one, other in zip((*found, *gradients[0]), (*expected, *gradients[1]), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_inputs_are_not_written_to():
    inputs = [x.float() for x in inputs_of(37)]
    copies = [x.clone() for x in inputs]
    wkv7(*inputs)
    for one, other in zip(inputs, copies, strict=True):
        assert torch.equal(one, other)
