"""Texts for benchmarks: a random sample of the rows of JSON Lines files."""

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read_texts(paths: Sequence[Path]) -> list[str]:
    """Give the "text" of every row of JSON Lines files, gzipped or not; empty ones are left out."""
    texts = []
    for path in paths:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        texts += [json.loads(line)["text"] for line in data.splitlines() if line.strip()]
    return [text for text in texts if text.strip()]


def sample(texts: Sequence[str], n_texts: int) -> list[str]:
    """Give some of the texts, the same ones every time."""
    return random.Random(1).sample(list(texts), min(n_texts, len(texts)))


def describe(lengths: Sequence[int]) -> str:
    """Say how long texts are, in tokens."""
    median, high = np.percentile(lengths, [50, 95])
    return f"{len(lengths)} texts, {sum(lengths):,} tokens, median {median:.0f}, 95th percentile {high:.0f}"
