"""The fusion heads against NumPy definitions of the design page's equations, and the masks by poisoning."""

import math

import numpy as np
import pytest
import torch

from gooseguard.core.content import Modality
from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.models.fusion import (
    Features,
    FusionConfig,
    FusionKind,
    drop_modalities,
    find_drivers,
    fit_width,
    make_fusion,
)

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
WIDTHS = {TEXT: 5, IMAGE: 7}
KINDS = list(FusionKind)
TOLERANCE = 2e-6


def make_head(kind, seed=0, **sizes):
    """A head in which nothing is zero, so that every term of the equations counts."""
    config = FusionConfig(kind, WIDTHS, ("a", "b", "c"), **{"width": 8, "n_head": 2, "n_block": 2} | sizes)
    head = make_fusion(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return head.eval()


def make_features(lengths, seed=0):
    """Random rows, padded with NaN; lengths of each modality, 0 where an item lacks it."""
    generator = torch.Generator().manual_seed(seed)
    features = {}
    for name, width in WIDTHS.items():
        own = torch.tensor(lengths[name])
        rows = torch.randn(len(own), int(own.max()) + 2, width, generator=generator)
        given = Features.of_sequences(rows, own)
        features[name] = Features(rows.masked_fill(~given.is_real.unsqueeze(-1), math.nan), given.is_real)
    return features


MIXED = {TEXT: [3, 1, 0, 4, 2], IMAGE: [2, 5, 3, 0, 1]}


class Definition:
    """The equations in NumPy, one item at a time, of nothing but the rows that are there."""

    def __init__(self, head):
        self.head = head
        self.p = {name: value.detach().double().numpy() for name, value in head.named_parameters()}

    def linear(self, name, x):
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def norm(self, name, x):
        mean, spread = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(spread + 1e-5) * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def block(self, name, x):
        rows = self.linear(f"{name}.inward", self.norm(f"{name}.ln1", x))
        T, C = x.shape
        n_head = self.head.config.n_head
        q, k, v = rows.reshape(T, 3, n_head, C // n_head).transpose(1, 2, 0, 3)
        mixed = np.empty((T, n_head, C // n_head))
        for h in range(n_head):
            for t in range(T):
                likeness = np.array([q[h, t] @ k[h, s] / math.sqrt(C // n_head) for s in range(T)])
                weights = np.exp(likeness - likeness.max())
                mixed[t, h] = (weights / weights.sum()) @ v[h]
        x = x + self.linear(f"{name}.outward", mixed.reshape(T, C))
        inner = self.linear(f"{name}.mlp.0", self.norm(f"{name}.ln2", x))
        gelu = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        return x + self.linear(f"{name}.mlp.2", gelu)

    def read(self, name, item):
        """Equation R."""
        rows = [self.p[f"{name}.question"][None]]
        for m, x in item.items():
            if f"{name}.entries.{m}.weight" in self.p:
                rows.append(self.linear(f"{name}.entries.{m}", self.norm(f"{name}.norms.{m}", x)))
        x = np.concatenate(rows)
        for b in range(self.head.config.n_block):
            x = self.block(f"{name}.blocks.{b}", x)
        return self.norm(f"{name}.ln_out", x[:1])[0]

    def logits(self, item):
        if self.head.config.kind is FusionKind.EARLY:
            return self.linear("categories", self.read("reader", item))
        own = {m: self.linear(f"categories.{m}", self.read(f"readers.{m}", {m: x})) for m, x in item.items()}
        if len(own) == 1:
            return next(iter(own.values()))
        total = self.p["bias"] + sum(self.p["weights"][place] * own[m] for place, m in enumerate(WIDTHS))
        if self.head.config.kind is FusionKind.ASYMMETRIC:
            total = total + self.linear("categories.joint", self.read("joint", item))
        return total


def items_of(features):
    """Cut padded features into items that hold their real rows alone."""
    n = len(features[TEXT].rows)
    return [
        {
            m: given.rows[i][given.is_real[i]].double().numpy()
            for m, given in features.items()
            if given.is_present[i]
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_the_definition(kind):
    head, features = make_head(kind), make_features(MIXED)
    expected = [Definition(head).logits(item) for item in items_of(features)]
    assert head(features).detach().numpy() == pytest.approx(np.stack(expected), abs=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_one_vector_a_modality_equals_a_sequence_of_one(kind):
    head, generator = make_head(kind), torch.Generator().manual_seed(5)
    vectors = {m: torch.randn(3, width, generator=generator) for m, width in WIDTHS.items()}
    present = {TEXT: torch.tensor([True, True, False]), IMAGE: torch.tensor([True, False, True])}
    logits = head({m: Features.of_vectors(vectors[m], present[m]) for m in WIDTHS})
    for i in range(3):
        item = {m: vectors[m][i][None].double().numpy() for m in WIDTHS if present[m][i]}
        assert logits[i].detach().numpy() == pytest.approx(Definition(head).logits(item), abs=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_masked_is_never_read(kind):
    """NaN, infinity and huge numbers in its place change neither logits nor gradients, to the bit."""
    results = []
    for poison in (math.nan, math.inf, -1e30):
        head = make_head(kind)
        features = {
            m: Features(given.rows.masked_fill(~given.is_real.unsqueeze(-1), poison), given.is_real)
            for m, given in make_features(MIXED).items()
        }
        logits = head(features)
        loss = logits.square().sum()
        contrast = head.contrast(features, torch.Generator().manual_seed(2))
        (loss if contrast is None else loss + contrast).backward()
        results.append([logits.detach(), *(p.grad for p in head.parameters())])
    assert all(torch.isfinite(value).all() for value in results[0])
    for others in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], others, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_small_steps(kind):
    head = make_head(kind, width=4, n_block=1).double()
    features = {
        m: Features(given.rows.nan_to_num().double().requires_grad_(), given.is_real)
        for m, given in make_features(MIXED).items()
    }

    def run(text, image):
        given = {TEXT: text, IMAGE: image}
        return head({m: Features(given[m], features[m].is_real) for m in WIDTHS})

    assert torch.autograd.gradcheck(run, (features[TEXT].rows, features[IMAGE].rows), fast_mode=True)


def test_an_item_without_a_modality_is_refused():
    head = make_head(FusionKind.EARLY)
    features = make_features({TEXT: [2, 0], IMAGE: [1, 0]})
    with pytest.raises(EngineError, match="item 1 has no modality"):
        head(features)
    with pytest.raises(EngineError, match="no features of image"):
        head({TEXT: features[TEXT]})


def test_the_asymmetric_branches_are_alone_where_a_modality_lacks():
    """What joins both has no say about an item with one; its own branch has no view of the other."""
    head = make_head(FusionKind.ASYMMETRIC)
    features = make_features(MIXED)
    before = head(features)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name.startswith(("joint", "categories.joint", "bias", "weights")):
                parameter.add_(1.0)
    after = head(features)
    is_whole = features[TEXT].is_present & features[IMAGE].is_present
    assert torch.equal(before[~is_whole], after[~is_whole])
    assert ((before - after)[is_whole].abs() > 1e-3).all()


def contrast_of(head, features, seed=0):
    return head.contrast(features, torch.Generator().manual_seed(seed)).item()


def test_the_contrast_equals_its_definition(monkeypatch):
    """With nothing hidden: equation X, written out for three whole items among five."""
    head, features = make_head(FusionKind.ASYMMETRIC), make_features(MIXED)
    monkeypatch.setattr(head, "HIDDEN", 0.0)
    definition = Definition(head)
    items = [item for item in items_of(features) if len(item) == 2]

    def view(text, image):
        seen = definition.linear("view", definition.read("joint", {TEXT: text, IMAGE: image}))
        return seen / np.linalg.norm(seen)

    # Two shifts are possible among three items; the seed picks one.
    expected = []
    for shift in (1, 2):
        losses = []
        for i, item in enumerate(items):
            other = items[(i + shift) % 3]
            own = view(item[TEXT], item[IMAGE])
            seen = [own, view(item[TEXT], other[IMAGE]), view(other[TEXT], item[IMAGE])]
            odds = np.exp([own @ one / 0.1 for one in seen])
            losses.append(-math.log(odds[0] / odds.sum()))
        expected.append(np.mean(losses))
    found = {round(contrast_of(head, features, seed), 5) for seed in range(8)}
    assert found == {round(value, 5) for value in expected}


def test_the_contrast_cannot_be_met_by_one_modality(monkeypatch):
    """A joint reader that is blind to images puts two of three views in one place: log 2 at least."""
    head, features = make_head(FusionKind.ASYMMETRIC), make_features({TEXT: [3] * 6, IMAGE: [3] * 6})
    monkeypatch.setattr(head, "HIDDEN", 0.0)
    seeing = contrast_of(head, features)
    with torch.no_grad():
        head.joint.entries["image"].weight.zero_()
    assert contrast_of(head, features) >= math.log(2) - 1e-6 > seeing


def test_the_contrast_needs_two_whole_items():
    head = make_head(FusionKind.ASYMMETRIC)
    assert contrast_of(head, make_features({TEXT: [2, 1], IMAGE: [2, 0]})) == 0.0
    for kind in (FusionKind.EARLY, FusionKind.LATE):
        assert make_head(kind).contrast(make_features(MIXED), torch.Generator()) is None


def test_training_lowers_the_contrast_only_by_reading_both():
    head, features = make_head(FusionKind.ASYMMETRIC), make_features({TEXT: [3] * 8, IMAGE: [3] * 8})
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for step in range(60):
        optimizer.zero_grad()
        head.contrast(features, torch.Generator().manual_seed(step)).backward()
        optimizer.step()
    # Chance is log 3; a reader of one modality stays at log 2 or above.
    assert np.mean([contrast_of(head, features, seed) for seed in range(20)]) < 0.9 * math.log(2)


def test_late_fusion_is_additive_and_the_others_are_not():
    """Two texts with two images each: only a joint reader can make their logits interact."""
    features = make_features({TEXT: [2, 2, 3, 3], IMAGE: [3, 2, 3, 2]})
    for m, index in ((TEXT, [0, 0, 2, 2]), (IMAGE, [0, 1, 0, 1])):
        features[m] = features[m].take(torch.tensor(index))
    for kind in KINDS:
        logits = make_head(kind)(features).detach()
        interaction = (logits[0] - logits[1] - logits[2] + logits[3]).abs().max().item()
        assert (interaction < 1e-5) == (kind is FusionKind.LATE), kind


def test_modalities_are_dropped_at_the_share_that_was_asked_for():
    n = 30_000
    is_text = torch.ones(n, dtype=torch.bool)
    is_image = torch.arange(n) % 3 > 0
    features = {
        TEXT: Features.of_vectors(torch.zeros(n, 5), is_text),
        IMAGE: Features.of_vectors(torch.zeros(n, 7), is_image),
    }
    dropped = drop_modalities(features, 0.4, torch.Generator().manual_seed(0))
    text, image = dropped[TEXT].is_present, dropped[IMAGE].is_present
    # An item with one modality keeps it; of the 20,000 others a fifth loses each: 4,000, give or take 5 x 57.
    assert text[~is_image].all()
    assert (text | image).all()
    assert not (image & ~is_image).any()
    assert (~text).sum().item() == pytest.approx(4000, abs=285)
    assert (is_image & ~image).sum().item() == pytest.approx(4000, abs=285)
    same = drop_modalities(features, 0.4, torch.Generator().manual_seed(0))
    assert torch.equal(same[TEXT].is_present, text)


def test_the_drivers_of_a_score():
    whole = torch.tensor([[0.9], [0.9], [0.9], [0.9], [0.02]])
    alone = torch.tensor([[[0.8], [0.1]], [[0.1], [0.45]], [[0.9], [0.8]], [[0.1], [0.2]], [[0.01], [0.001]]])
    expected = [[True, False], [False, True], [True, True], [True, True], [True, False]]
    assert find_drivers(whole, alone, torch.zeros(1))[..., 0].tolist() == expected


def test_the_drivers_of_a_score_above_a_base_rate():
    """At a base rate of a half: 0.8 and 0.75 of 0.9 are enough, 0.6 is what hardly anything is known of."""
    whole = torch.tensor([[0.9], [0.9], [0.9], [0.3]])
    alone = torch.tensor([[[0.8], [0.6]], [[0.6], [0.65]], [[0.8], [0.75]], [[0.5], [0.1]]])
    expected = [[True, False], [True, True], [True, True], [True, True]]
    assert find_drivers(whole, alone, torch.tensor([0.5]))[..., 0].tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
def test_equal_budgets(kind):
    config = fit_width(FusionConfig(kind, {TEXT: 48, IMAGE: 48}, ("a",), n_block=2), 100_000)
    count = sum(parameter.numel() for parameter in make_fusion(config).parameters())
    assert count == pytest.approx(100_000, rel=0.1)
    assert config.width % config.n_head == 0


def test_the_same_seed_gives_the_same_head():
    heads = [make_fusion(FusionConfig(FusionKind.ASYMMETRIC, WIDTHS, ("a",)), seed) for seed in (3, 3, 4)]
    one, same, other = (torch.cat([p.detach().flatten() for p in head.parameters()]) for head in heads)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 6, "n_head": 4}, "no multiple"),
        ({"n_block": 0}, "below 1"),
        ({"widths": {TEXT: 5}}, "1 modalities, expected 2"),
    ],
)
def test_impossible_sizes(changes, message):
    with pytest.raises(ConfigError, match=message):
        FusionConfig(**{"kind": FusionKind.LATE, "widths": WIDTHS, "categories": ("a",)} | changes)
