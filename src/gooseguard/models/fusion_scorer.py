"""Two encoders and a fusion head as a scorer; each score says which modality drove it. Knows no threshold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gooseguard.codec.scores import Calibration, to_scores
from gooseguard.core.errors import ConfigError, ContentError, EngineError
from gooseguard.core.manifest import canonical_json
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.models.fusion import Features, FusionHead, find_drivers
from gooseguard.models.language import DIGEST_DIGITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from gooseguard.core.content import Content, Modality, Part

N_CONTENTS = 256
"""Contents that are fused at once."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """What makes features of one modality."""

    width: int
    """D of what `encode` gives."""
    encode: Callable[[Part], Tensor]
    """Gives the features of a part, float32, (T, D); none, T = 0, where the part shows nothing.
    Raises ContentError where the part cannot be read."""
    digest: str
    """SHA-256 (hex) of all that the features depend on."""


class FusionScorer:
    """A `Scorer` of texts with images, or of any two modalities, and of either alone.

    `Scores.applied` has, for each category, the modalities that drove its score (`fusion.find_drivers`). Safe
    to call from several threads where the encoders are.
    """

    backend = "torch"
    """What runs the numbers."""

    def __init__(
        self,
        head: FusionHead,
        encoders: Mapping[Modality, Encoder],
        calibration: Calibration | None = None,
        languages: Sequence[str] = (),
        base_rates: Sequence[float] | None = None,
        *,
        finds_drivers: bool = True,
    ) -> None:
        """Take a head and the encoders that it was trained on.

        Args:
            head: set to evaluation.
            encoders: of exactly its modalities.
            calibration: of its logits; None leaves them as they are.
            languages: BCP-47, of its training texts.
            base_rates: share of positives of each category where it was calibrated, which `find_drivers`
                measures from; 0 where left out.
            finds_drivers: if not, `applied` has what was read, and a third of the work is done.

        Raises:
            ConfigError: encoders or calibration are not those of the head.
        """
        found = {name: encoder.width for name, encoder in encoders.items()}
        if found != dict(head.config.widths):
            raise ConfigError(
                f"fusion scorer: encoders of widths {_shown(found)}, the head takes "
                f"{_shown(head.config.widths)}"
            )
        K = len(head.config.categories)
        if calibration is None:
            calibration = Calibration(head.config.categories, np.ones(K), np.zeros(K))
        elif calibration.categories != head.config.categories:
            raise ConfigError("fusion scorer: the calibration has other categories than the head")
        self.base_rates = tuple(base_rates if base_rates is not None else [0.0] * K)
        if len(self.base_rates) != K or not all(0 <= rate < 1 for rate in self.base_rates):
            raise ConfigError(f"fusion scorer: base rates are {self.base_rates}, expected {K} within 0..1")
        self.head = head.eval()
        self.calibration = calibration
        self.categories: frozenset[str] = frozenset(head.config.categories)
        self.modalities: frozenset[Modality] = frozenset(encoders)
        self.languages: frozenset[str] = frozenset(languages)
        self.finds_drivers = finds_drivers
        self._encoders = dict(encoders)

    @cached_property
    def name(self) -> str:
        """Give "name@digest"; the digest is of weights, encoders and calibration."""
        state = hashlib.sha256()
        for name, tensor in sorted(self.head.state_dict().items()):
            state.update(name.encode())
            state.update(tensor.numpy(force=True).tobytes())
        state.update(canonical_json([self.encoder_digests, self.calibration.to_json()]).encode())
        return f"fusion-{self.head.config.kind}@{state.hexdigest()[:DIGEST_DIGITS]}"

    @property
    def encoder_digests(self) -> dict[str, str]:
        """Give the digest of the encoder of each modality."""
        return {str(modality): encoder.digest for modality, encoder in self._encoders.items()}

    def score(self, contents: Sequence[Content]) -> list[Scores | ScoreError]:
        """Score contents: same order, same length.

        A content with a part that cannot be read, or that shows nothing, gives a `ScoreError`.
        """
        results: list[Scores | ScoreError] = []
        for begin in range(0, len(contents), N_CONTENTS):
            results += self._score(contents[begin : begin + N_CONTENTS])
        return results

    def _score(self, contents: Sequence[Content]) -> list[Scores | ScoreError]:
        results: list[Scores | ScoreError | None] = [None] * len(contents)
        encoded: list[dict[Modality, Tensor]] = []
        for place, content in enumerate(contents):
            try:
                encoded.append(self._encode(content))
            except ContentError as error:
                results[place] = ScoreError(type(error).__name__, str(error))
        waiting = [place for place, result in enumerate(results) if result is None]
        if waiting:
            features = {
                name: Features.join([item.get(name) for item in encoded], encoder.width)
                for name, encoder in self._encoders.items()
            }
            logits, drivers = self.fuse(features)
            for row, place in enumerate(waiting):
                results[place] = self._make(logits[row], drivers[row], frozenset(encoded[row]))
        return [result for result in results if result is not None]

    def _encode(self, content: Content) -> dict[Modality, Tensor]:
        """Give the features of each modality that a content has; several parts of one follow each other."""
        rows: dict[Modality, list[Tensor]] = {}
        for number, part in enumerate(content.parts):
            if part.modality not in self._encoders:
                raise ContentError(
                    f"part {number} is {part.modality}; this model reads "
                    f"{' and '.join(sorted(self._encoders))}; leave the part out"
                )
            try:
                features = self._encoders[part.modality].encode(part)
            except ContentError as error:
                raise ContentError(f"part {number} ({part.modality}): {error}") from None
            if len(features):
                rows.setdefault(part.modality, []).append(features)
        if not rows:
            raise ContentError("nothing to judge: no part shows anything; expected a text or an image")
        return {name: torch.cat(parts) for name, parts in rows.items()}

    @torch.inference_mode()
    def fuse(self, features: Mapping[Modality, Features]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Give logits, float32, (B, K), and drivers, bool, (B, M, K), in the order of the head's widths.

        Items with both modalities are read twice more, with one modality each.
        """
        names = list(self.head.config.widths)
        logits = self.head(features)
        is_present = torch.stack([features[name].is_present for name in names], 1)
        drivers = is_present.unsqueeze(-1).repeat(1, 1, logits.shape[1])
        whole = is_present.all(1).nonzero()[:, 0]
        if len(whole) and self.finds_drivers:
            both = {name: given.take(whole) for name, given in features.items()}
            alone = torch.stack([self.head(_keep_only(both, name)) for name in names], 1)
            of_whole, of_alone = (
                torch.from_numpy(self.calibration.apply(x.numpy(force=True))) for x in (logits[whole], alone)
            )
            base_rates = torch.tensor(self.base_rates, dtype=torch.float64)
            drivers[whole] = find_drivers(of_whole, of_alone, base_rates).to(drivers.device)
        return logits.numpy(force=True), drivers.numpy(force=True)

    def _make(
        self, logits: NDArray[np.float32], drivers: NDArray[np.bool_], found: frozenset[Modality]
    ) -> Scores | ScoreError:
        try:
            scores = to_scores(logits, self.calibration, self.name, found=found)
        except EngineError as error:
            return ScoreError(type(error).__name__, str(error))
        applied = {}
        for k, category in enumerate(self.calibration.categories):
            drove = {name for m, name in enumerate(self.head.config.widths) if drivers[m, k]}
            # A category that only one of them can show is that one's.
            applied[category] = scores.applied[category] & drove or scores.applied[category]
        return replace(scores, applied=applied)


def _keep_only(features: Mapping[Modality, Features], kept: Modality) -> dict[Modality, Features]:
    """Mask every modality but one."""
    return {
        name: given if name == kept else given.only(torch.zeros_like(given.is_present))
        for name, given in features.items()
    }


def _shown(widths: Mapping[Modality, int]) -> str:
    return ", ".join(f"{name} {width}" for name, width in widths.items())
