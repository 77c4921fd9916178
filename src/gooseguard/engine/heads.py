"""The category heads: what a backbone gives of a text to calibrated scores.

The native extension runs them where there is one, `PythonHeads` otherwise; the two differ by rounding. Knows
no text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from gooseguard.codec import extension

if TYPE_CHECKING:
    from gooseguard.codec.scores import Calibration

GROUP_TEXTS = 16
"""Texts that are worked on at once: some hundred kilobytes of products."""


class Heads(Protocol):
    """What `_native.Heads` and `PythonHeads` both are."""

    def scores(
        self, features: npt.NDArray[np.float32], added: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """Give the scores of texts, each the same whoever is beside it.

        Args:
            features: (n, F): what the backbone gives of each.
            added: (n, K): added to the logits.

        Returns:
            (n, K), 0..1; NaN where a logit is not finite.
        """


class PythonHeads:
    """The heads in NumPy: the definition."""

    def __init__(
        self, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], calibration: Calibration
    ) -> None:
        """Take weights (K, F) and biases (K,), which are copied."""
        self._weight = weight.copy()
        self._bias = bias.copy()
        self._calibration = calibration

    def scores(
        self, features: npt.NDArray[np.float32], added: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """As `Heads.scores`.

        Not by BLAS, which would cut the sums by its number of threads, and takes memory of its own. Some
        texts at once: NumPy lets other threads run at each step, and a worker then waits for its turn.
        """
        sums = [
            np.add.reduce(self._weight * features[begin : begin + GROUP_TEXTS, np.newaxis], axis=2)
            for begin in range(0, len(features), GROUP_TEXTS)
        ]
        logits = np.concatenate(sums) + self._bias + added
        # An infinite one would be a score like any other.
        return np.where(np.isfinite(logits), self._calibration.apply(logits), np.nan)


def make_heads(
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    calibration: Calibration,
    *,
    is_native: bool | None = None,
) -> Heads:
    """Give the heads of weights (K, F) and biases (K,).

    Args:
        weight: float32, copied.
        bias: float32, copied.
        calibration: of K categories.
        is_native: whether the native extension runs them; `None` for where there is one.
    """
    if is_native is False or (is_native is None and extension.problem() is not None):
        return PythonHeads(weight, bias, calibration)
    # Late, because it may not be there.
    from gooseguard import _native  # noqa: PLC0415

    return _native.Heads(weight, bias, calibration.scale, calibration.bias)
