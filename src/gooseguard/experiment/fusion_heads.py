"""Fusion heads fitted on what two towers made of items, on equal budgets; calibrated on validation rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.codec.scores import Calibration
from gooseguard.core.manifest import canonical_json
from gooseguard.experiment.fitting import FitConfig, fit_rows
from gooseguard.models.fusion import (
    Features,
    FusionConfig,
    FusionHead,
    FusionKind,
    drop_modalities,
    fit_width,
    make_fusion,
)
from gooseguard.models.fusion_scorer import FusionScorer
from gooseguard.training.calibrate import fit_platt
from gooseguard.training.resume import ResumePoints
from gooseguard.training.thresholds import smallest_threshold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from gooseguard.core.content import Content, Modality
    from gooseguard.models.fusion_scorer import Encoder
    from gooseguard.training.loop import Reporter

CATEGORY = "harm"
"""What the benchmark's labels are of: no category of the taxonomy, since nothing in it is harmful."""

N_AT_ONCE = 500
"""Validation rows that are read at once."""


@dataclass(frozen=True, slots=True)
class HeadsConfig:
    """What every head gets."""

    parameters: int = 60_000
    """Of each head; its width is chosen for it."""
    n_block: int = 1
    """Blocks of each reader."""
    n_head: int = 4
    """Attention heads of a block."""
    dropped: float = 0.3
    """Share of the training items that lose a modality in a step."""
    contrast: float = 0.1
    """Weight of the contrastive loss, in heads that have one."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=12, learning_rate=3e-3))
    """How they are fitted."""
    max_fpr: float = 0.05
    """Largest share of harmless validation items that a head's threshold flags."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Items as a head reads them."""

    features: Mapping[Modality, Features]
    """Of n items."""
    labels: NDArray[np.float32]
    """(n,), 1 where an item stands for harm."""

    def take(self, rows: Tensor) -> dict[Modality, Features]:
        """Give the features of some items."""
        return {name: given.take(rows) for name, given in self.features.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One head, ready to score."""

    kind: FusionKind
    """How it fuses."""
    seed: int
    """Of its initial weights, order and modality dropout."""
    scorer: FusionScorer
    """The head with its encoders and its calibration."""
    explainer: FusionScorer
    """The same, which also finds out which modalities drove a score."""
    threshold: float
    """Chosen on validation rows."""
    facts: dict[str, Any]
    """Of the fitting."""


def encode_items(
    encoders: Mapping[Modality, Encoder], contents: Sequence[Content], labels: NDArray[np.float32]
) -> Rows:
    """Run encoders over contents that have one part of each modality."""
    features = {}
    for name, encoder in encoders.items():
        rows = [
            encoder.encode(part) for content in contents for part in content.parts if part.modality is name
        ]
        features[name] = Features.join(rows, encoder.width)
    return Rows(features, labels)


def plan_head(kind: FusionKind, encoders: Mapping[Modality, Encoder], config: HeadsConfig) -> FusionConfig:
    """Choose the sizes of a head of a kind, within the budget of parameters."""
    widths = {name: encoder.width for name, encoder in encoders.items()}
    sizes = FusionConfig(kind, widths, (CATEGORY,), config.n_head, config.n_head, config.n_block)
    return fit_width(sizes, config.parameters)


class HeadLoss(nn.Module):
    """A head, and what it is fitted by: cross-entropy with modality dropout, and a contrast if it has one."""

    def __init__(self, head: FusionHead, rows: Rows, config: HeadsConfig) -> None:
        """Take a head and its training rows."""
        super().__init__()
        self.head, self._rows, self._config = head, rows, config
        self._labels = torch.from_numpy(rows.labels)

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Give the mean loss of some items, a scalar."""
        features = self._rows.take(rows)
        logits = self.head(drop_modalities(features, self._config.dropped, generator))
        total = functional.binary_cross_entropy_with_logits(logits[:, 0], self._labels[rows])
        # Of half of the items: it reads four pairs of each.
        half = self._rows.take(rows[: (len(rows) + 1) // 2])
        contrast = self.head.contrast(half, generator)
        return total if contrast is None else total + self._config.contrast * contrast


def fit_head(
    sizes: FusionConfig,
    seed: int,
    sides: tuple[Rows, Rows],
    encoders: Mapping[Modality, Encoder],
    config: HeadsConfig,
    folder: Path,
    report: Reporter,
) -> Fitted:
    """Fit a head, calibrate it and choose its threshold; what `folder` holds of it goes on where it was.

    Args:
        sizes: of the head.
        seed: of initial weights, order and modality dropout.
        sides: training rows, and validation rows for calibration and threshold.
        encoders: that made the rows.
        config: how.
        folder: of its resume points.
        report: told where the fitting stands.

    Raises:
        ArtefactError: `folder` holds another head.
    """
    train, val = sides
    head = make_fusion(sizes, seed)
    state = hashlib.sha256(canonical_json([repr(sizes), repr(config), seed]).encode())
    for encoder in encoders.values():
        state.update(encoder.digest.encode())
    state.update(train.labels.tobytes())
    points = ResumePoints(folder, state.hexdigest())
    learner = HeadLoss(head, train, config)
    facts = fit_rows(learner, len(train.labels), learner.loss, config.fit, seed, points, report)
    logits = read_logits(head.eval(), val)
    scale, bias = fit_platt(logits, val.labels)
    calibration = Calibration((CATEGORY,), np.array([scale]), np.array([bias]))
    scores = calibration.apply(logits[:, None])[:, 0]
    threshold = smallest_threshold(scores[val.labels == 0], config.max_fpr)
    n_parameter = sum(p.numel() for p in head.parameters())
    base_rates = [float(val.labels.mean())]
    scorer, explainer = (
        FusionScorer(head, encoders, calibration, ("en",), base_rates, finds_drivers=finds)
        for finds in (False, True)
    )
    return Fitted(sizes.kind, seed, scorer, explainer, threshold, {**facts, "parameters": n_parameter})


@torch.inference_mode()
def read_logits(head: FusionHead, rows: Rows) -> NDArray[np.float32]:
    """Give the logits of all rows, float32, (n,)."""
    n = len(rows.labels)
    parts = [torch.arange(begin, min(begin + N_AT_ONCE, n)) for begin in range(0, n, N_AT_ONCE)]
    return torch.cat([head(rows.take(part))[:, 0] for part in parts]).numpy()
