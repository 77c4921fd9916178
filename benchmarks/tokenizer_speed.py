"""Tokenizing: native and Python side by side, and the `rwkv` package's trie; prints ratios of one run.

    python benchmarks/tokenizer_speed.py [--texts FILE]

FILE has a text a line; without it, the examples are repeated. All first show that they give equal ids. One
thread; processor time, so that other programs count little; the median of 5 rounds, in each of which all take
turns.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import util
from itertools import pairwise
from pathlib import Path

from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

from gooseguard import _native
from gooseguard.backends import load
from gooseguard.codec.byte_pairs import PythonEncoder
from gooseguard.codec.normalize import PythonStream
from gooseguard.codec.world import FILE_NAME, WorldTokenizer, _Matcher, parse_vocabulary

ROUNDS = 5
SLICE = 100

Encode = Callable[[Sequence[str]], object]
"""Texts to the ids of each, or to arrays of all."""


def main() -> None:
    """Check, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=Path, help="a text a line")
    parser.add_argument("--count", type=int, default=2000, help="texts")
    options = parser.parse_args()
    texts = read_texts(options.texts, options.count)
    sizes = [len(text.encode()) for text in texts]
    print(
        f"{len(texts)} texts, median {statistics.median(sizes):.0f} bytes, {sum(sizes) / 1e6:.2f} MB in all"
    )
    for title, rivals in (("World vocabulary", world()), ("starter, normalising included", starter())):
        compare(title, rivals, texts)


def read_texts(path: Path | None, count: int) -> list[str]:
    """Give `count` texts, the first ones again where there are fewer."""
    if path is None:
        path = Path(__file__).parents[1] / "examples" / "comments.jsonl"
        texts = [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]
    else:
        texts = [line for line in path.read_text("utf-8").split("\n") if line]
    return (texts * (count // len(texts) + 1))[:count]


def world() -> dict[str, Encode]:
    """Give the ways to encode with the World vocabulary; the last is what the others are compared with."""
    folder = Path(next(iter(util.find_spec("rwkv").submodule_search_locations)))
    package = TRIE_TOKENIZER(str(folder / FILE_NAME))
    tokens = [b"", *parse_vocabulary((folder / FILE_NAME).read_text("utf-8"))]
    tokenizer = WorldTokenizer.from_package()
    python = _Matcher(tokens)
    # Its trie has millions of references, which no garbage collection while others are timed need visit.
    gc.collect()
    gc.freeze()
    return {
        "native, in a batch": tokenizer.encode_batch,
        "native, one by one": lambda texts: [tokenizer.encode(text) for text in texts],
        "Python": lambda texts: [python.encode(text.encode(), is_last=True)[0] for text in texts],
        "rwkv package": lambda texts: [package.encode(text) for text in texts],
    }


def starter() -> dict[str, Encode]:
    """Give the ways from text to the starter's ids."""
    merges = load(threads=1)._tokenizer.merges  # noqa: SLF001  (a scorer shows its vocabulary to nobody)
    native, python = _native.Tokenizer(merges), PythonEncoder(merges)
    return {
        "native, in a batch": native.encode_texts,
        "native, one by one": lambda texts: [native.encode(_native.normalize(text)[0]) for text in texts],
        # Pieces seen before come from its cache, as in a server that has run for a while.
        "Python": lambda texts: [python.encode(PythonStream().normalize(text)[0]) for text in texts],
    }


def to_lists(result: object) -> list[list[int]]:
    """Give the ids of each text; of a batch they come as arrays: all of them, and where each text begins."""
    if isinstance(result, list):
        return result
    numbers, places = result[0].tolist(), result[1].tolist()
    return [numbers[begin:end] for begin, end in pairwise(places)]


def measure(encode: Encode, texts: Sequence[str]) -> float:
    """Give the seconds of all texts; ids are dropped after a hundred texts, since nobody keeps them all."""
    seconds = 0.0
    for begin in range(0, len(texts), SLICE):
        part = texts[begin : begin + SLICE]
        start = time.process_time()
        encode(part)
        seconds += time.process_time() - start
    return seconds


def compare(title: str, rivals: dict[str, Encode], texts: list[str]) -> None:
    """Print a table, after showing that all agree."""
    ids = {name: to_lists(encode(texts)) for name, encode in rivals.items()}
    assert all(rows == next(iter(ids.values())) for rows in ids.values()), f"{title}: ids differ"
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(ROUNDS):
        for name, encode in rivals.items():
            times[name].append(measure(encode, texts))
    n_tokens = sum(map(len, next(iter(ids.values()))))
    slowest = statistics.median(times[list(rivals)[-1]])
    print(f"\n{title}: {n_tokens:,} tokens, equal ids\n")
    print("| | us a text | texts/s | spread | times as fast |\n|---|---:|---:|---:|---:|")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        spread = (max(seconds) - min(seconds)) / median
        print(
            f"| {name} | {median / len(texts) * 1e6:.2f} | {len(texts) / median:,.0f} | {spread:.0%} | "
            f"{slowest / median:.1f} |"
        )


if __name__ == "__main__":
    main()
