"""The n-gram head written out for one text at a time; and random tables for it."""

from itertools import pairwise

import numpy as np


def make_tables(n_tokens, n_pairs, n_categories, rng):
    """Give random tensors, float32, as `codec.ngram_head.ngram_shapes` names them."""
    keys = np.sort(rng.choice(n_tokens**2, n_pairs, replace=False))
    tables = {
        "token_weight": rng.normal(0, 2, (n_tokens, n_categories)),
        "token_size": rng.integers(256, 2304, n_tokens) / 256,
        "pair_first": keys // n_tokens,
        "pair_second": keys % n_tokens,
        "pair_weight": rng.normal(0, 2, (n_pairs, n_categories)),
        "pair_size": rng.integers(256, 2304, n_pairs) / 256,
    }
    return {f"ngrams.{name}": np.asarray(table, np.float32) for name, table in tables.items()}


def mix(row):
    """Give the 32 bits of MurmurHash3's finaliser, with Python's whole numbers."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        row = ((row ^ (row >> shift)) * factor) % 2**32
    return row ^ (row >> 16)


def norm(rows, sizes, *, is_exact):
    """Give the norm of counts times sizes, or that of its sketch: 1024 slots, by a sign each."""
    slots = {}
    for row in rows:
        slot, sign = (row, 1) if is_exact else (mix(row) // 2**22, -1 if mix(row) & 2 else 1)
        slots[slot] = slots.get(slot, 0.0) + sign * float(sizes[row])
    return np.sqrt(sum(value**2 for value in slots.values()))


def logits(tables, ids, *, is_exact=False):
    """Give the logits of a text's token ids, float64 (K,)."""
    ids = [int(token) for token in ids]
    pairs = {
        (int(first), int(second)): row
        for row, (first, second) in enumerate(
            zip(tables["ngrams.pair_first"], tables["ngrams.pair_second"], strict=True)
        )
    }
    known = [pairs[pair] for pair in pairwise(ids) if pair in pairs]
    total = np.zeros(tables["ngrams.token_weight"].shape[1])
    for kind, rows in (("token", ids), ("pair", known)):
        size = norm(rows, tables[f"ngrams.{kind}_size"], is_exact=is_exact)
        # Where everything fell into one slot and cancelled out, the smallest size stands.
        if rows:
            total += tables[f"ngrams.{kind}_weight"].astype(np.float64)[rows].sum(0) / max(size, 1 / 256)
    return total
