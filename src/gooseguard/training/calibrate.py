"""Logits and labels to calibration: a scale and a bias for each category, fitted on validation rows.

Source: J. Platt, *Probabilistic Outputs for Support Vector Machines* (1999); minimised here by damped Newton
steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_SCALE = 1e-3
"""A scale is kept above 0, so that calibration never turns a ranking round."""


def fit_platt(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> tuple[float, float]:
    """Fit score = sigmoid(scale * logit + bias) by maximum likelihood.

    Args:
        logits: float32, (n,).
        labels: float32, (n,), soft labels 0..1, none NaN.

    Returns:
        scale, above 0, and bias. A tiny ridge (1e-6) keeps both finite where the logits separate the classes.
    """
    x = np.stack([logits.astype(np.float64), np.ones(len(logits))], axis=1)
    y = labels.astype(np.float64)
    parameters = np.array([1.0, 0.0])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ parameters, -500, 500)))
        gradient = x.T @ (p - y) / len(y) + 1e-6 * parameters
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(y) + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        length = min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-30))
        # A full step can overshoot where the scores are flat, and the next one back: halve it until it gains.
        before = _loss(x, y, parameters)
        while _loss(x, y, parameters - step * length) > before + 1e-12 and length > 1e-6:
            length /= 2
        parameters = parameters - step * length
        if float(np.abs(step).max()) < 1e-10:
            break
    return max(float(parameters[0]), SMALLEST_SCALE), float(parameters[1])


def _loss(x: NDArray[np.float64], y: NDArray[np.float64], parameters: NDArray[np.float64]) -> float:
    """Give the mean cross-entropy and the ridge, which `fit_platt` makes least."""
    z = x @ parameters
    return float((np.logaddexp(0, z) - y * z).mean() + 0.5e-6 * parameters @ parameters)


def apply_platt(logits: NDArray[np.float32], scale: float, bias: float) -> NDArray[np.float64]:
    """Give the calibrated scores of logits, 0..1."""
    x = scale * logits.astype(np.float64) + bias
    scores: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return scores
