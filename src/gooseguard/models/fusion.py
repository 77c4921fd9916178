"""Fusion heads: what two encoders made of a text and an image, or of any two modalities, to category logits.

`early` reads both as one sequence, `late` reads each by itself and joins the logits, `asymmetric` does both
and learns by contrast what only the two together say. A modality that an item lacks is masked: nothing stands
in its place, and nothing that depends on it enters the logits. Knows no encoder and no calibration.

| letter | what |
| --- | --- |
| B T D | items, rows of one modality, width of its encoder |
| C K | width of the head, categories |

Every equation, and whose it is: docs/design/0035-fusion.md. The asymmetric one is our reading of the abstract
of AM3 (arXiv 2305.10547), whose equations were not at hand: none here is AM3's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.core.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gooseguard.core.content import Modality

N_MODALITY = 2
"""How many are fused: a pair is what the contrast is about."""

DRIVES = 0.5
"""Share of the way from base rate to score that a modality must go by itself to have driven the score."""


class FusionKind(StrEnum):
    """How modalities are joined."""

    EARLY = "early"
    LATE = "late"
    ASYMMETRIC = "asymmetric"


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What an encoder made of one modality of B items."""

    rows: Tensor
    """float32, (B, T, D); what stands in rows that are not real is never read, be it NaN."""
    is_real: Tensor
    """bool, (B, T); an item without a real row lacks the modality."""

    @classmethod
    def of_sequences(cls, rows: Tensor, lengths: Tensor) -> Features:
        """Take sequences padded at the end: float32, (B, T, D), and int64, (B,), 0 where it is lacking."""
        return cls(rows, torch.arange(rows.shape[1], device=rows.device) < lengths.unsqueeze(-1))

    @classmethod
    def of_vectors(cls, vectors: Tensor, is_present: Tensor) -> Features:
        """Take one vector an item: float32, (B, D), and bool, (B,)."""
        return cls(vectors.unsqueeze(1), is_present.unsqueeze(1))

    @classmethod
    def join(cls, sequences: Sequence[Tensor | None], width: int) -> Features:
        """Take a sequence an item, float32, (T, D) of any T, `None` where it is lacking; D is `width`."""
        kept = [torch.empty(0, width) if rows is None else rows for rows in sequences]
        padded = nn.utils.rnn.pad_sequence(kept, batch_first=True)
        return cls.of_sequences(padded, torch.tensor([len(rows) for rows in kept]))

    @property
    def is_present(self) -> Tensor:
        """Tell which items have the modality, bool, (B,)."""
        return self.is_real.any(1)

    def only(self, is_kept: Tensor) -> Features:
        """Mask items, bool, (B,), or single rows, bool, (B, T)."""
        return replace(self, is_real=self.is_real & (is_kept if is_kept.ndim == 2 else is_kept.unsqueeze(1)))

    def take(self, index: Tensor) -> Features:
        """Give the items of `index`, int64, (n,), in its order."""
        return Features(self.rows[index], self.is_real[index])


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """The sizes of a fusion head."""

    kind: FusionKind
    """How modalities are joined."""
    widths: Mapping[Modality, int]
    """The two modalities and the widths of their encoders."""
    categories: tuple[str, ...]
    """In the order of the logits."""
    width: int = 64
    """C, of each reader."""
    n_head: int = 4
    """Attention heads of a block; C must be a multiple of it."""
    n_block: int = 1
    """Blocks of each reader: early fusion has one reader, late two, asymmetric three."""

    def __post_init__(self) -> None:
        findings = []
        if len(self.widths) != N_MODALITY:
            findings.append(f"{len(self.widths)} modalities, expected {N_MODALITY}")
        if min((*self.widths.values(), self.width, self.n_head, self.n_block)) < 1:
            findings.append("a size below 1")
        elif self.width % self.n_head:
            findings.append(f"width {self.width} is no multiple of n_head {self.n_head}")
        if findings:
            raise ConfigError(f"fusion head: {'; '.join(findings)}")


class Block(nn.Module):
    """Masked self-attention and an MLP, each on a layer-normed residual stream."""

    def __init__(self, width: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, is_real: Tensor) -> Tensor:
        """Run rows float32, (B, T, C), of which bool, (B, T), are attended to."""
        B, T, C = x.shape
        q, k, v = self.inward(self.ln1(x)).view(B, T, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        # A row that is not real gets weight 0 from every other.
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=is_real[:, None, None, :])
        x = x + self.outward(mixed.transpose(1, 2).reshape(B, T, C))
        out: Tensor = x + self.mlp(self.ln2(x))
        return out


class Reader(nn.Module):
    """Reads the rows of one modality, or of several as one sequence, into one vector an item."""

    def __init__(self, widths: Mapping[Modality, int], config: FusionConfig) -> None:
        super().__init__()
        C = config.width
        self.norms = nn.ModuleDict({str(name): nn.LayerNorm(width) for name, width in widths.items()})
        # The bias tells the modalities apart.
        self.entries = nn.ModuleDict({str(name): nn.Linear(width, C) for name, width in widths.items()})
        self.question = nn.Parameter(torch.empty(C))
        self.blocks = nn.ModuleList(Block(C, config.n_head) for _ in range(config.n_block))
        self.ln_out = nn.LayerNorm(C)

    def forward(self, features: Mapping[Modality, Features]) -> Tensor:
        """Give float32, (B, C); of those modalities that the reader was made for."""
        names = list(self.entries)
        found = {str(name): given for name, given in features.items()}
        n_item = len(found[names[0]].rows)
        rows = [self.question.expand(n_item, 1, -1)]
        masks = [torch.ones(n_item, 1, dtype=torch.bool, device=self.question.device)]
        for name in names:
            given = found[name]
            # Weight 0 alone would let a NaN through: 0 times NaN is NaN.
            kept = given.rows.masked_fill(~given.is_real.unsqueeze(-1), 0.0)
            rows.append(self.entries[name](self.norms[name](kept)))
            masks.append(given.is_real)
        x, is_real = torch.cat(rows, 1), torch.cat(masks, 1)
        for block in self.blocks:
            x = block(x, is_real)
        out: Tensor = self.ln_out(x[:, 0])
        return out


class FusionHead(nn.Module):
    """What all heads have in common; `logits` of each says how it fuses."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: Mapping[Modality, Features]) -> Tensor:
        """Give the logits of items, float32, (B, K).

        Raises:
            EngineError: a modality is not given, or an item has none of them.
        """
        missing = [str(name) for name in self.config.widths if name not in features]
        if missing:
            raise EngineError(
                f"fusion head: no features of {', '.join(missing)}; mask the items that lack them"
            )
        is_present = torch.stack([features[name].is_present for name in self.config.widths])
        if not bool(is_present.any(0).all()):
            item = int((~is_present.any(0)).nonzero()[0])
            raise EngineError(f"fusion head: item {item} has no modality, expected at least one")
        return self.logits(features)

    def logits(self, features: Mapping[Modality, Features]) -> Tensor:
        """Give the logits of items that have a modality each, float32, (B, K)."""
        raise NotImplementedError

    def contrast(self, features: Mapping[Modality, Features], generator: torch.Generator) -> Tensor | None:
        """Give the contrastive loss of the items that have both modalities; `None` in heads without one."""
        del features, generator
        return None

    def initialise(self, seed: int) -> None:
        """Draw the initial values: matrices uniform within 1 / sqrt(in); final matrices and biases zero."""
        generator = torch.Generator().manual_seed(seed)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
                if name.startswith("categories"):
                    nn.init.zeros_(module.weight)
                else:
                    bound = 1 / math.sqrt(module.in_features)
                    nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            elif isinstance(module, Reader):
                nn.init.normal_(module.question, std=1.0, generator=generator)


class EarlyFusion(FusionHead):
    """One reader over both modalities as one sequence."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        self.reader = Reader(config.widths, config)
        self.categories = nn.Linear(config.width, len(config.categories))

    def logits(self, features: Mapping[Modality, Features]) -> Tensor:
        """Give the logits, float32, (B, K): equation E of the design page."""
        out: Tensor = self.categories(self.reader(features))
        return out


class LateFusion(FusionHead):
    """A reader and a head a modality; the logits of an item with both are added with learnt weights."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        K = len(config.categories)
        names = [str(name) for name in config.widths]
        self.readers = nn.ModuleDict(
            {str(name): Reader({name: width}, config) for name, width in config.widths.items()}
        )
        self.categories = nn.ModuleDict({name: nn.Linear(config.width, K) for name in names})
        self.weights = nn.Parameter(torch.ones(len(names), K))
        self.bias = nn.Parameter(torch.zeros(K))

    def logits(self, features: Mapping[Modality, Features]) -> Tensor:
        """Give the logits, float32, (B, K): equation L of the design page."""
        own = torch.stack(
            [self.categories[str(m)](self.readers[str(m)](features)) for m in self.config.widths]
        )
        is_present = torch.stack([features[m].is_present for m in self.config.widths]).unsqueeze(-1)
        joined = self.bias + (self.weights.unsqueeze(1) * own).sum(0) + self.together(features)
        single = own.masked_fill(~is_present, 0.0).sum(0)
        return torch.where(is_present.all(0), joined, single)

    def together(self, features: Mapping[Modality, Features]) -> Tensor | float:
        """Give what is added where both are there; late fusion adds nothing."""
        del features
        return 0.0


class AsymmetricFusion(LateFusion):
    """Late fusion for what is unique to each, a joint reader for what they share and what only both say.

    Where a modality is lacking, the joint reader takes no part, and the other's own branch scores alone.
    """

    TEMPERATURE = 0.1
    """Of the contrast: similarities lie within -1..1."""
    HIDDEN = 0.2
    """Share of the rows that are hidden from each view of an item in the contrast."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        self.joint = Reader(config.widths, config)
        self.categories["joint"] = nn.Linear(config.width, len(config.categories))
        self.view = nn.Linear(config.width, config.width)

    def together(self, features: Mapping[Modality, Features]) -> Tensor:
        """Give the logits of the joint reader: equation A of the design page."""
        out: Tensor = self.categories["joint"](self.joint(features))
        return out

    def contrast(self, features: Mapping[Modality, Features], generator: torch.Generator) -> Tensor:
        """Give the mean contrastive loss, a scalar: equation X of the design page.

        An item must be nearer to itself, some rows hidden, than to itself with another item's text, or with
        another's image. 0 with fewer than two items that have both modalities.
        """
        first, second = self.config.widths
        is_whole = features[first].is_present & features[second].is_present
        whole = is_whole.nonzero()[:, 0]
        n = len(whole)
        if n < 2:
            return self.view.weight.new_zeros(())
        # Every item gets the partner `shift` places on: never itself.
        shift = 1 + int(torch.randint(n - 1, (), generator=generator))
        others = whole.roll(-shift)
        pairs = ((whole, whole), (whole, whole), (whole, others), (others, whole))
        views = {
            m: _hide(features[m].take(torch.cat([pair[place] for pair in pairs])), self.HIDDEN, generator)
            for place, m in enumerate((first, second))
        }
        own, again, other_second, other_first = functional.normalize(
            self.view(self.joint(views)), dim=-1
        ).chunk(len(pairs))
        nearness = torch.stack([(own * other).sum(-1) for other in (again, other_second, other_first)], 1)
        # The first is the right one.
        return functional.cross_entropy(
            nearness / self.TEMPERATURE, torch.zeros(n, dtype=torch.long, device=nearness.device)
        )


HEADS: dict[FusionKind, type[FusionHead]] = {
    FusionKind.EARLY: EarlyFusion,
    FusionKind.LATE: LateFusion,
    FusionKind.ASYMMETRIC: AsymmetricFusion,
}
"""Kind to the head of it."""


def make_fusion(config: FusionConfig, seed: int = 0) -> FusionHead:
    """Make a head with initial values of its own."""
    head = HEADS[config.kind](config)
    head.initialise(seed)
    return head


def fit_width(config: FusionConfig, n_parameter: int) -> FusionConfig:
    """Choose the width that brings a head nearest to a number of parameters: equal budgets for all kinds."""

    def distance(width: int) -> int:
        with torch.device("meta"):
            head = HEADS[config.kind](replace(config, width=width))
        return abs(sum(p.numel() for p in head.parameters()) - n_parameter)

    # A block has 12 C^2 parameters: this many are above any width that could fit.
    most = config.n_head + math.isqrt(n_parameter // (12 * config.n_block) + 1)
    widths = range(config.n_head, most + 1, config.n_head)
    return replace(config, width=min(widths, key=distance))


def drop_modalities(
    features: Mapping[Modality, Features], share: float, generator: torch.Generator
) -> dict[Modality, Features]:
    """Mask one modality of a share of the items that have both, either as often: for training.

    Args:
        features: not written to.
        share: 0..1, of items.
        generator: of the draw.
    """
    is_whole = torch.stack([given.is_present for given in features.values()]).all(0)
    drawn = torch.rand(is_whole.shape, generator=generator).to(is_whole.device)
    n = len(features)
    return {
        name: given.only(~(is_whole & (drawn >= share * place / n) & (drawn < share * (place + 1) / n)))
        for place, (name, given) in enumerate(features.items())
    }


def _hide(features: Features, share: float, generator: torch.Generator) -> Features:
    """Mask a share of the rows; an item keeps one at least."""
    drawn = torch.rand(features.is_real.shape, generator=generator).to(features.rows.device)
    drawn = drawn.masked_fill(~features.is_real, -1.0)
    is_last = drawn == drawn.amax(1, keepdim=True)
    return features.only((drawn >= share) | is_last)


def find_drivers(whole: Tensor, alone: Tensor, base_rates: Tensor) -> Tensor:
    """Tell which modalities drove scores.

    A modality that goes `DRIVES` of the way from the base rate to the score by itself while the other does
    not, drove it. Both did where both do, as where each would be enough, where neither does, as where only
    the two together say it, and where the score is no higher than the base rate.

    Args:
        whole: float, (B, K), 0..1: scores of items with both modalities.
        alone: float, (B, M, K), 0..1: scores of the same items with one modality each.
        base_rates: float, (K,), 0..1: what a score is where nothing is known of an item.

    Returns:
        bool, (B, M, K); at least one of each item and category.
    """
    lift = whole - base_rates
    is_enough = (alone - base_rates >= DRIVES * lift.unsqueeze(1)) & (lift > 0).unsqueeze(1)
    return is_enough | ~is_enough.any(1, keepdim=True)
