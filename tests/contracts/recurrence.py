"""What every chunked recurrence must do: be the recurrence token by token, and have its gradients.

A test file subclasses `Recurrence` and says which it is.
"""

import pytest
import torch

B, H, N = 2, 3, 8
EXACT = 1e-11
"""Relative; of float64, where one way of summing differs from another in the last digits."""
SINGLE = 1e-4
"""Relative; of float32 against float64."""


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


class Recurrence:
    """The battery; inputs are lists in the order of `names`, the state last."""

    names: tuple[str, ...]
    """Of the inputs."""
    in_time: slice
    """Which of them have a time axis, the second."""
    masked: tuple[int, ...]
    """Which of them are 0 where a token is padding."""

    def chunked(self, *inputs):
        """Run what is tested."""
        raise NotImplementedError

    def by_token(self, *inputs):
        """Run the definition."""
        raise NotImplementedError

    def inputs_of(self, n_token, seed=0):
        """Draw what a model hands over, float64."""
        raise NotImplementedError

    def cut(self, inputs, span):
        """Give the inputs of some tokens, without the state."""
        return [x[:, span] if i in range(*self.in_time.indices(9)) else x for i, x in enumerate(inputs[:-1])]

    @pytest.mark.parametrize("n_token", [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 37, 64, 100])
    def test_is_the_recurrence(self, n_token):
        inputs = self.inputs_of(n_token)
        expected_y, expected_state = self.by_token(*inputs)
        y, state = self.chunked(*inputs)
        assert y.shape == (B, n_token, H, N)
        assert error(y, expected_y) < EXACT
        assert error(state, expected_state) < EXACT
        y, state = self.chunked(*(x.float() for x in inputs))
        assert y.dtype == state.dtype == torch.float32
        assert error(y, expected_y) < SINGLE
        assert error(state, expected_state) < SINGLE

    def test_no_state_is_the_zero_state(self):
        inputs = self.inputs_of(37)[:-1]
        expected = self.by_token(*inputs, torch.zeros(B, H, N, N, dtype=torch.float64))
        for found, wanted in zip(self.chunked(*inputs), expected, strict=True):
            assert error(found, wanted) < EXACT

    @pytest.mark.parametrize("cuts", [(0, 37), (1, 2, 18), (16, 32), (15, 31, 36), (5, 5)])
    def test_pieces_with_the_state_carried_over_are_one_call(self, cuts):
        inputs = self.inputs_of(37)
        expected_y, expected_state = self.chunked(*inputs)
        parts, state = [], inputs[-1]
        for begin, end in zip((0, *cuts), (*cuts, 37), strict=True):
            y, state = self.chunked(*self.cut(inputs, slice(begin, end)), state)
            parts.append(y)
        assert error(torch.cat(parts, 1), expected_y) < EXACT
        assert error(state, expected_state) < EXACT

    @pytest.mark.parametrize("n_token", [1, 16, 17, 64, 100])
    def test_gradients_of_every_input(self, n_token):
        inputs = self.inputs_of(n_token, seed=n_token)
        expected = gradients_of(self.by_token, inputs)
        exact = gradients_of(self.chunked, inputs)
        single = gradients_of(self.chunked, [x.float() for x in inputs])
        for i, name in enumerate(self.names):
            assert exact[i].shape == inputs[i].shape
            assert error(exact[i], expected[i]) < EXACT, name
            assert error(single[i], expected[i]) < SINGLE, name

    @pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0)])
    def test_gradient_of_the_outputs_alone_and_of_the_state_alone(self, shares):
        inputs = self.inputs_of(50)
        found, expected = (gradients_of(run, inputs, *shares) for run in (self.chunked, self.by_token))
        for name, one, other in zip(self.names, found, expected, strict=True):
            assert error(one, other) < EXACT, name

    def test_a_loss_that_reads_no_state_gives_the_gradient_of_the_outputs(self):
        inputs = [x.requires_grad_() for x in self.inputs_of(20)]
        found, expected = (
            torch.autograd.grad(run(*inputs)[0].square().sum(), inputs)
            for run in (self.chunked, self.by_token)
        )
        for name, one, other in zip(self.names, found, expected, strict=True):
            assert error(one, other) < EXACT, name

    def test_padded_tokens_change_nothing_before_or_after(self):
        # As the backbone masks them: no decay, nothing removed, nothing written; the rest is anything.
        inputs, real = self.inputs_of(50), 21
        for i in self.masked:
            inputs[i][:, real:] = 0
        y, after = self.chunked(*inputs)
        expected_y, expected_after = self.by_token(*self.cut(inputs, slice(real)), inputs[-1])
        assert error(y[:, :real], expected_y) < EXACT
        assert error(after, expected_after) < EXACT

    def test_stays_in_float32_under_autocast(self):
        # As in training: forward inside the context, backward outside of it.
        inputs = [x.float().requires_grad_() for x in self.inputs_of(37)]
        expected = self.chunked(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            found = self.chunked(*inputs)
        gradients = [torch.autograd.grad(y.sum() + state.sum(), inputs) for y, state in (found, expected)]
        for one, other in zip((*found, *gradients[0]), (*expected, *gradients[1]), strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other)

    def test_inputs_are_not_written_to(self):
        inputs = [x.float() for x in self.inputs_of(37)]
        copies = [x.clone() for x in inputs]
        self.chunked(*inputs)
        for one, other in zip(inputs, copies, strict=True):
            assert torch.equal(one, other)
