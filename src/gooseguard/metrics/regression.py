"""Features and labels to a logistic regression, and how strongly it is regularised, chosen on held-out rows.

Knows nothing of texts: what the features are of is the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from gooseguard.core.extras import import_extra
from gooseguard.metrics.ranking import POSITIVE, grouped_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_ROWS = 2
"""Rows of each class without which nothing is fitted."""

# SciPy's matrices have no types.
Matrix = Any


class Settings(Protocol):
    """What a fit has to know of its caller's config."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """Give the values of C, the inverse strength of L2 regularisation, to choose among."""

    @property
    def n_choosing(self) -> int:
        """Give the most annotated rows that are used while choosing C."""

    @property
    def max_iterations(self) -> int:
        """Give the most iterations of L-BFGS."""

    @property
    def tolerance(self) -> float:
        """Give the gradient of the mean loss at which L-BFGS stops."""

    @property
    def seed(self) -> int:
        """Give the seed of the rows drawn while choosing C."""


class HeldOutFeatures(NamedTuple):
    """Rows on which C is chosen."""

    features: Matrix
    """Sparse, (n, F)."""
    labels: NDArray[np.floating[Any]]
    """(n,), 0..1, NaN where not annotated."""
    sources: NDArray[np.str_]
    """(n,): C is chosen by AUC within sources; by pooled AUC where no source is large enough."""


def has_both_classes(labels: NDArray[np.floating[Any]]) -> bool:
    """Tell whether each class has the rows that a fit takes."""
    return min(int((labels >= POSITIVE).sum()), int((labels < POSITIVE).sum())) >= MIN_ROWS


def middle_strength(settings: Settings) -> float:
    """Give the C that stands where there is nothing to choose by."""
    return settings.strengths[len(settings.strengths) // 2]


def fit_regression(
    features: Matrix, labels: NDArray[np.floating[Any]], strength: float, settings: Settings, wanted: str
) -> Any:  # noqa: ANN401  (a scikit-learn estimator)
    """Fit one regression by L-BFGS.

    Args:
        features: sparse, (n, F).
        labels: (n,), 0..1, none NaN.
        strength: C.
        settings: when to stop.
        wanted: who asks, for the error where scikit-learn is missing; as in `core.extras`.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    regression = import_extra("sklearn.linear_model", wanted).LogisticRegression(
        C=strength, solver="lbfgs", max_iter=settings.max_iterations, tol=settings.tolerance
    )
    return regression.fit(features, labels >= POSITIVE)


def choose_strength(
    features: Matrix,
    labels: NDArray[np.floating[Any]],
    held_out: HeldOutFeatures,
    settings: Settings,
    wanted: str,
) -> float:
    """Give the C with the best AUC on held-out rows; of one category, labels NaN where not annotated."""
    middle = middle_strength(settings)
    known = np.flatnonzero(~np.isnan(labels))
    drawn = np.random.default_rng(settings.seed).permutation(known)[: settings.n_choosing]
    asked = np.flatnonzero(~np.isnan(held_out.labels))
    if len(settings.strengths) == 1 or not asked.size or not has_both_classes(labels[drawn]):
        return middle
    part, asked_features = features[drawn], held_out.features[asked]
    aucs = {}
    for strength in settings.strengths:
        fitted = fit_regression(part, labels[drawn], strength, settings, wanted)
        logits = fitted.decision_function(asked_features)
        found = grouped_auc(held_out.labels[asked], logits, held_out.sources[asked])
        aucs[strength] = found.headline if found.by_source else found.pooled
    return middle if np.isnan(aucs[middle]) else max(aucs, key=lambda strength: aucs[strength])
