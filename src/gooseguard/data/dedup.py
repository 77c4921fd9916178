"""Texts -> keys that equal texts share, and clusters of nearly equal texts. Knows nothing of labels or files.

Near duplicates are found by MinHash with locality-sensitive hashing over hashed shingles of code points; each
pair that it proposes is verified by the exact Jaccard similarity of the two shingle sets; verified pairs are
closed transitively.

Source: Broder, "On the resemblance and containment of documents", 1997 (MinHash); Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", 3.4 (bands).
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KEY_DIGITS = 16
"""Hex digits of a key: 64 bits, so that a million texts collide with a probability of about 3e-8."""

SIMILARITY = 0.6
"""Jaccard similarity of shingle sets from which two texts are near duplicates.

Measured on 482,850 texts: the largest cluster has 125 texts at 0.7, 135 at 0.6 and 569 at 0.5, where single
linkage begins to chain.
"""

SHINGLE = 5
"""Code points a shingle."""
DENSE_SHINGLE = 3
"""The same where more than half of a text is East Asian, whose characters say more."""
DENSE_FROM = 0x2E80
"""First code point of the East Asian blocks."""

BUCKET_WINDOW = 256
"""How many texts after it in the same bucket a text is compared with; bounds the work in huge buckets."""
CHUNK_CODES = 1 << 22
"""Code points worked on at a time."""

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class _Kept(dict[int, str]):
    """Character classes for `str.translate`, filled on demand: the kept stay, others become spaces."""

    def __init__(self, classes: str) -> None:
        super().__init__()
        self._classes = classes

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        # Variation selectors choose between two drawings of one character.
        is_kept = category[0] in self._classes and not 0xFE00 <= code <= 0xFE0F
        self[code] = character if is_kept else " "
        return self[code]


def _fold(text: str, kept: _Kept) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).lower().translate(kept).split())


# Marks (M) belong to the letters before them: without its vowel signs Hindi is not readable.
_WORDS = _Kept("LNM")
_WORDS_AND_SYMBOLS = _Kept("LNMS")


def dedup_form(text: str) -> str:
    """Give what is compared: NFKC, lower case; letters, marks and digits of any script, a space for all else.

    A text with none of these is its own form.
    """
    return _fold(text, _WORDS) or text


def literal_form(text: str) -> str:
    """Give the form under which texts say the same: `dedup_form` and symbols, since emoji carry meaning."""
    return _fold(text, _WORDS_AND_SYMBOLS) or text


def form_key(form: str) -> str:
    """Give the key of a form: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(form.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_DIGITS]


def dedup_key(text: str) -> str:
    """Give the key of a text; texts that differ in case, spacing or punctuation alone share it."""
    return form_key(dedup_form(text))


def content_key(text: str, media: Sequence[str] = ()) -> str:
    """Give the key of a text, or of a text and the SHA-256 (hex) of each medium beside it."""
    form = dedup_form(text)
    return form_key("".join(media) + form if media else form)


class Shingles(NamedTuple):
    """The shingle set of each text."""

    hashes: U32
    """uint32, (n_shingles,): hashes of all texts, one after the other; ascending and unique within a text."""
    offsets: I64
    """int64, (n_texts + 1,): where the set of each text begins and the last one ends; no set is empty."""


@dataclass(frozen=True, slots=True)
class Lsh:
    """What counts as nearly equal, and how hard to look for it.

    A pair of similarity s is proposed with probability 1 - (1 - s^rows)^bands: with the defaults 0.99994 at
    0.6 and 0.66 at 0.3.
    """

    threshold: float = SIMILARITY
    """Jaccard similarity of shingle sets from which two texts are near duplicates."""
    bands: int = 40
    """Groups of MinHash values, any of which may agree."""
    rows: int = 3
    """MinHash values a group, all of which must agree."""
    seed: int = 0
    """Of the hash functions."""


def shingle_sets(forms: Sequence[str]) -> Shingles:
    """Hash the shingles of each form; a form shorter than a shingle is one shingle."""
    hashes: list[U32] = []
    counts: list[I64] = []
    for begin, end in _chunks(forms):
        encoded = [
            form.ljust(SHINGLE, "\0").encode("utf-32-le", "surrogatepass") for form in forms[begin:end]
        ]
        codes = np.frombuffer(b"".join(encoded), dtype="<u4")
        lengths = np.array([len(data) // 4 for data in encoded], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        n_dense = np.add.reduceat((codes >= DENSE_FROM).astype(np.int64), starts)
        is_dense = 2 * n_dense > lengths
        owners = np.repeat(np.arange(lengths.size), lengths)
        windows = np.where(
            is_dense[owners], _hash_windows(codes, DENSE_SHINGLE), _hash_windows(codes, SHINGLE)
        )
        last = starts + lengths - np.where(is_dense, DENSE_SHINGLE, SHINGLE)
        is_inside = np.arange(codes.size) <= last[owners]
        tagged = (owners[is_inside].astype(np.uint64) << np.uint64(32)) | windows[is_inside]
        tagged.sort()
        unique = tagged[np.concatenate(([True], tagged[1:] != tagged[:-1]))]
        hashes.append(unique.astype(np.uint32))
        counts.append(
            np.bincount((unique >> np.uint64(32)).astype(np.int64), minlength=lengths.size).astype(np.int64)
        )
    offsets = np.concatenate([np.zeros(1, np.int64), *counts]).cumsum()
    return Shingles(np.concatenate([np.zeros(0, np.uint32), *hashes]), offsets)


def _chunks(forms: Sequence[str]) -> Iterator[tuple[int, int]]:
    begin, size = 0, 0
    for index, form in enumerate(forms):
        size += len(form)
        if size >= CHUNK_CODES:
            yield begin, index + 1
            begin, size = index + 1, 0
    if begin < len(forms):
        yield begin, len(forms)


def _hash_windows(codes: U32, width: int) -> U32:
    """Hash each window of `width` code points; uint32, (n,), the last `width - 1` of which mean nothing."""
    padded = np.concatenate((codes, np.zeros(width - 1, np.uint32)))
    state = np.full(codes.size, width, np.uint32)
    for shift in range(width):
        state = (state ^ padded[shift : shift + codes.size]) * np.uint32(0x9E3779B1)
        state ^= state >> np.uint32(15)
    # The finaliser of MurmurHash3 (Austin Appleby, public domain), which spreads every bit over all.
    state *= np.uint32(0x85EBCA6B)
    state ^= state >> np.uint32(13)
    state *= np.uint32(0xC2B2AE35)
    return state ^ (state >> np.uint32(16))


def minhash_signatures(shingles: Shingles, n_hashes: int, seed: int = 0) -> U32:
    """Give MinHash signatures, uint32, (n_texts, n_hashes).

    The share of values in which two texts agree estimates the Jaccard similarity of their shingles.
    """
    hashes, offsets = shingles
    generator = np.random.default_rng(seed)
    masks = generator.integers(0, 1 << 32, n_hashes, dtype=np.uint32)
    factors = generator.integers(0, 1 << 32, n_hashes, dtype=np.uint32) | np.uint32(1)
    signatures = np.empty((offsets.size - 1, n_hashes), np.uint32)
    # Pieces that stay in the cache over all hash functions.
    piece = 1 << 16
    begin = 0
    while begin < signatures.shape[0]:
        end = max(int(np.searchsorted(offsets, offsets[begin] + piece, side="right")) - 1, begin + 1)
        values = hashes[offsets[begin] : offsets[end]]
        starts = offsets[begin:end] - offsets[begin]
        for column in range(n_hashes):
            mixed = (values ^ masks[column]) * factors[column]
            mixed ^= mixed >> np.uint32(16)
            mixed *= np.uint32(0x45D9F3B)
            signatures[begin:end, column] = np.minimum.reduceat(mixed, starts)
        begin = end
    return signatures


def jaccard(shingles: Shingles, left: I64, right: I64) -> npt.NDArray[np.float64]:
    """Give the Jaccard similarity of the texts `left[i]` and `right[i]`, int64, (n,); float64, (n,), 0..1."""
    hashes, offsets = shingles
    sizes = offsets[1:] - offsets[:-1]
    result = np.empty(left.size, np.float64)
    ends = np.cumsum(sizes[left] + sizes[right])
    begin = 0
    while begin < left.size:
        base = ends[begin - 1] if begin else 0
        end = max(int(np.searchsorted(ends, base + CHUNK_CODES, side="right")), begin + 1)
        one, other = left[begin:end], right[begin:end]
        tagged = np.concatenate((_tagged(hashes, offsets, one), _tagged(hashes, offsets, other)))
        tagged.sort()
        shared = tagged[1:][tagged[1:] == tagged[:-1]] >> np.uint64(32)
        n_shared = np.bincount(shared.astype(np.int64), minlength=one.size)
        result[begin:end] = n_shared / (sizes[one] + sizes[other] - n_shared)
        begin = end
    return result


def _tagged(hashes: U32, offsets: I64, texts: I64) -> npt.NDArray[np.uint64]:
    """Give the shingles of `texts`, each with the position of its text in the upper 32 bits."""
    sizes = offsets[texts + 1] - offsets[texts]
    positions = np.repeat(np.arange(texts.size), sizes)
    firsts = np.cumsum(sizes) - sizes
    within = np.arange(positions.size) - firsts[positions]
    values = hashes[offsets[texts][positions] + within].astype(np.uint64)
    tagged: npt.NDArray[np.uint64] = (positions.astype(np.uint64) << np.uint64(32)) | values
    return tagged


def near_duplicate_clusters(forms: Sequence[str], lsh: Lsh | None = None) -> I64:
    """Cluster near duplicates, closed transitively.

    Args:
        forms: dedup forms, best without exact duplicates: those of one bucket are compared pair by pair.
        lsh: what counts as near; `None` for the defaults.

    Returns:
        int64, (n_forms,): the index of the first form of each form's cluster.
    """
    lsh = lsh or Lsh()
    roots = np.arange(len(forms), dtype=np.int64)
    if len(forms) < 2:
        return roots
    shingles = shingle_sets(forms)
    signatures = minhash_signatures(shingles, lsh.bands * lsh.rows, lsh.seed)
    sizes = shingles.offsets[1:] - shingles.offsets[:-1]
    # Four standard deviations under the threshold: of the pairs at it, 3 in 100,000 are lost unverified.
    spread = np.sqrt(lsh.threshold * (1 - lsh.threshold) / signatures.shape[1])
    least_estimate = lsh.threshold - 4 * spread
    for band in range(lsh.bands):
        columns = signatures[:, band * lsh.rows : (band + 1) * lsh.rows]
        for pairs in _bucket_pairs(columns):
            one, other = pairs
            small, large = np.minimum(sizes[one], sizes[other]), np.maximum(sizes[one], sizes[other])
            open_pairs = pairs[:, (roots[one] != roots[other]) & (small >= lsh.threshold * large)]
            likely = open_pairs[:, _agreement(signatures, *open_pairs) >= least_estimate]
            near = likely[:, jaccard(shingles, *likely) >= lsh.threshold]
            roots = _join(roots, *near)
    return roots


def _agreement(signatures: U32, left: I64, right: I64) -> npt.NDArray[np.float64]:
    """Give the share of MinHash values in which pairs agree, float64, (n,)."""
    result = np.empty(left.size, np.float64)
    for begin in range(0, left.size, 1 << 16):
        part = slice(begin, begin + (1 << 16))
        result[part] = (signatures[left[part]] == signatures[right[part]]).mean(axis=1)
    return result


def _bucket_pairs(columns: U32) -> Iterator[I64]:
    """Give pairs, int64, (2, n_pairs), of texts whose `columns`, uint32, (n, rows), are equal."""
    bucket = np.zeros(columns.shape[0], np.uint64)
    for row in range(columns.shape[1]):
        bucket = (bucket ^ columns[:, row]) * np.uint64(0x9E3779B97F4A7C15)
        bucket ^= bucket >> np.uint64(29)
    yield from equal_pairs(bucket)


def equal_pairs(values: U32 | U64) -> Iterator[I64]:
    """Give pairs of places, int64, (2, n_pairs), of equal values, each with the next BUCKET_WINDOW alike."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    at = np.arange(ordered.size - 1)
    for distance in range(1, BUCKET_WINDOW + 1):
        at = at[at + distance < ordered.size]
        at = at[ordered[at] == ordered[at + distance]]
        if at.size == 0:
            return
        yield np.stack((order[at], order[at + distance]))


def _join(roots: I64, left: I64, right: I64) -> I64:
    """Join the clusters of each pair; the smallest index of a cluster becomes its root."""
    while True:
        one, other = roots[left], roots[right]
        is_apart = one != other
        if not is_apart.any():
            return roots
        left, right, one, other = left[is_apart], right[is_apart], one[is_apart], other[is_apart]
        roots = roots.copy()
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        # Follow roots of roots until each names itself.
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
