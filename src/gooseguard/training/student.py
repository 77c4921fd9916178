"""A student: a model that learns people's labels and a teacher's lessons at once.

Where a person annotated, the loss is (1 - mixing) times the cross-entropy with the label plus mixing times
that with the teacher's score; elsewhere the teacher's alone. At temperature T both logits are divided by T
before they are compared, and the loss multiplied by T², which keeps its gradients of one size.

Source: G. Hinton, O. Vinyals, J. Dean, *Distilling the Knowledge in a Neural Network* (arXiv 1503.02531),
section 2, for one sigmoid a category instead of a softmax. The cosine between hidden features as in V. Sanh
et al., *DistilBERT* (arXiv 1910.01108), section 3, through a projection, since widths differ, as in A. Romero
et al., *FitNets* (arXiv 1412.6550), section 2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.core.errors import ConfigError
from gooseguard.models.features import capture, check_layers, mean_features
from gooseguard.training.objectives import category_weights, weighted_bce
from gooseguard.training.workers import Learner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gooseguard.models.mod_rwkv import ModRwkv
    from gooseguard.training.lessons import Taught

SURE = 1e-4
"""Scores are kept this far from 0 and 1, where their logits are infinite."""


@dataclass(frozen=True, slots=True)
class TeachConfig:
    """What is learnt from a teacher, and how much it counts."""

    mixing: float = 0.5
    """Teacher's share of the loss where a person annotated too; the label's is the rest."""
    unlabelled_weight: float = 1.0
    """Weight of the teacher's score where nobody annotated; a label weighs 1 on average."""
    temperature: float = 1.0
    """Above 1, differences between small scores count more."""
    hidden_weight: float = 0.0
    """Weight of the hidden features, a row; 0 leaves them out."""
    layers: tuple[tuple[int, ...], ...] = ()
    """Which features to compare: (layer of the teacher, layer of the student), counted from 0."""

    def __post_init__(self) -> None:
        if not 0 <= self.mixing <= 1:
            raise ConfigError(f"recipe: teach: mixing is {self.mixing}, expected 0 to 1")
        if not self.temperature > 0:
            raise ConfigError(f"recipe: teach: temperature is {self.temperature}, expected more than 0")
        for name in ("unlabelled_weight", "hidden_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"recipe: teach: {name} is {getattr(self, name)}, expected at least 0")
        if any(len(pair) != 2 for pair in self.layers):
            raise ConfigError(
                "recipe: teach: layers must be pairs, [layer of the teacher, layer of the student]"
            )
        if bool(self.layers) != (self.hidden_weight > 0):
            raise ConfigError("recipe: teach: layers and hidden_weight go together; set both or neither")


@dataclass(frozen=True, slots=True, eq=False)
class Goals:
    """What each row should score, and look like."""

    labels: NDArray[np.float32]
    """(n, K), 0..1; 0 where the weight is 0."""
    label_weights: NDArray[np.float32]
    """(n, K), at least 0."""
    soft: NDArray[np.float32]
    """(n, K), logits of the teacher's scores; 0 where the weight is 0."""
    soft_weights: NDArray[np.float32]
    """(n, K), at least 0."""
    features: NDArray[np.float32] | None
    """(n, M, C), NaN where the teacher gave none."""


def make_goals(labels: NDArray[np.float32], taught: Taught | None, config: TeachConfig) -> Goals:
    """Join people's labels and a teacher's lessons.

    Args:
        labels: float32, (n, K), NaN where not annotated.
        taught: of the same rows and categories; None learns from labels alone.
        config: how much the teacher counts.
    """
    annotated, weights = ~np.isnan(labels), category_weights(labels)
    scores = np.full_like(labels, np.nan) if taught is None else taught.scores
    given = ~np.isnan(scores)
    kept = np.where(given, 1 - config.mixing, 1.0)
    sure = np.clip(np.where(given, scores, 0.5).astype(np.float64), SURE, 1 - SURE)
    return Goals(
        np.where(annotated, labels, 0).astype(np.float32),
        np.where(annotated, weights * kept, 0).astype(np.float32),
        np.log(sure / (1 - sure)).astype(np.float32),
        np.where(given, np.where(annotated, weights * config.mixing, config.unlabelled_weight), 0).astype(
            np.float32
        ),
        taught.features if taught is not None and config.layers else None,
    )


class Student(Learner):
    """A model, and the projections through which its features are compared; only the model is kept."""

    def __init__(self, model: ModRwkv, config: TeachConfig, teacher_width: int, seed: int = 0) -> None:
        """Begin with projections drawn from `seed`.

        Raises:
            ConfigError: the model has no such layer.
        """
        super().__init__()
        self.model, self.config = model, config
        self.layers = [pair[1] for pair in config.layers]
        check_layers(self.layers, model.config.backbone.n_layer, "student")
        C, generator = model.config.backbone.n_embd, torch.Generator().manual_seed(seed)
        self.projections = nn.ParameterList(
            nn.Parameter(torch.randn(C, teacher_width, generator=generator) / math.sqrt(C))
            for _ in self.layers
        )

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Give logits, float32, (B, K), and features, (B, M, C of the teacher); none while shallow."""
        if not self.layers or self.model.backbone.is_shallow:
            return self.model(tokens, lengths), None
        with capture(self.model.backbone, self.layers) as streams:
            logits = self.model(tokens, lengths)
        own = mean_features(streams, self.layers, lengths)
        return logits, torch.stack([own[:, m] @ p for m, p in enumerate(self.projections)], dim=1)

    def loss(self, outputs: tuple[Tensor, Tensor | None], goals: Goals, index: NDArray[np.int64]) -> Tensor:
        """Give the sum of the losses of rows `index`, a scalar, float32, from their logits and features."""
        (logits, features), T = outputs, self.config.temperature
        labels, label_weights, soft, soft_weights = (
            torch.from_numpy(x[index])
            for x in (goals.labels, goals.label_weights, goals.soft, goals.soft_weights)
        )
        total = weighted_bce(logits, labels, label_weights)
        total = total + T * T * weighted_bce(logits / T, torch.sigmoid(soft / T), soft_weights)
        if features is not None and goals.features is not None:
            wanted = torch.from_numpy(goals.features[index])
            is_there = ~wanted.isnan().any(-1)
            apart = 1 - functional.cosine_similarity(features.float(), wanted.nan_to_num(0.0), dim=-1)
            total = total + self.config.hidden_weight * (apart * is_there).sum() / wanted.shape[1]
        return total
