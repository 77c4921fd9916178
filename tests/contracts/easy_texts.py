"""Made-up texts whose labels a few words give away, for tests that train; no two are near duplicates."""

import numpy as np

CATEGORIES = ("toxicity", "insult")
SIGNS = {"toxicity": ("moron", "scoundrel"), "insult": ("nitwit", "buffoon")}

_SYLLABLES = [first + second for first in "bdfglmnprst" for second in ("a", "e", "i", "o", "u", "an", "el")]
# Few, so that a vocabulary of a hundred merges has them as one token or two.
_WORDS = [first + last for first, last in zip(_SYLLABLES[:48], _SYLLABLES[-48:], strict=True)]


def make_text(rng, signs=()):
    """Give nine words that mean nothing, with one sign of each category of `signs` among them."""
    words = [str(word) for word in rng.choice(_WORDS, 9)]
    for category in signs:
        words.insert(rng.integers(len(words) + 1), str(rng.choice(SIGNS[category])))
    return " ".join(words)


def make_labelled(rng, n_rows):
    """Give (text, {category: 0 or 1}) rows; three quarters have both labels, the rest one."""
    rows = []
    for number in range(n_rows):
        signs = [category for category in CATEGORIES if rng.random() < 0.4]
        annotated = CATEGORIES if number % 4 else (CATEGORIES[number // 4 % 2],)
        labels = {category: int(category in signs) for category in annotated}
        rows.append((make_text(rng, signs), labels))
    return rows


def write_dataset(folder, n_train=260, n_val=120, n_test=100, seed=0, extra=()):
    """Write a dataset folder; `extra` are further unlabelled training texts."""
    from gooseguard.core.content import Content
    from gooseguard.core.example import Example
    from gooseguard.data.build import count_rows
    from gooseguard.data.shards import DatasetRow, write_shards

    rng = np.random.default_rng(seed)
    rows = {}
    for split, n_rows in {"train": n_train, "val": n_val, "test": n_test}.items():
        labelled = [(text, labels, "forum") for text, labels in make_labelled(rng, n_rows)]
        # Ordinary text, on which thresholds are bounded; nobody annotated it.
        ordinary = [(make_text(rng), {}, "benign_goemotions_unlabelled") for _ in range(n_rows // 4)]
        if split == "train":
            ordinary += [(text, {}, "forum") for text in extra]
        rows[split] = [
            DatasetRow(
                Example(f"{split}/{i}", Content.from_text(text, "en"), labels, (), source),
                split,
            )
            for i, (text, labels, source) in enumerate(labelled + ordinary)
        ]
    terms = {"licence": "CC0-1.0", "citation": "nobody/made-up@0", "language": "en", "weak": False}
    sets = dict.fromkeys(("forum", "benign_goemotions_unlabelled"), terms)
    facts = {"counts": count_rows(rows), "sets": sets}
    return write_shards(folder, rows, {"seed": seed}, {}, facts)
