"""How well languages are told, by length, on the validation rows of a built dataset.

Usage: python benchmarks/languages.py DATASET [--rows 2000]

The language of a row is that of its source, which a few rows of most sources are not in. On Perspective's
wire a comment is refused where a language that no source has is told for sure: "refused" is what matters.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections import defaultdict
from pathlib import Path

from gooseguard.codec.language import detect_language
from gooseguard.data.shards import read_split

LENGTHS = ((1, 15), (16, 31), (32, 47), (48, 95), (96, 10**9))
"""Letters, both ends included."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--rows", type=int, default=2000, help="of each language at most")
    arguments = parser.parse_args()
    texts: dict[str, list[str]] = defaultdict(list)
    for row in read_split(arguments.dataset, "val"):
        content = row.example.content
        if content.language:
            texts[content.language].append(content.parts[0].text)
    # Which rows, not what they are.
    rng = random.Random(1)
    begin, n_texts = time.perf_counter(), 0
    print("language   letters    rows   right   sure   right of sure   refused")
    for code, found in sorted(texts.items()):
        for least, most in LENGTHS:
            chosen = [text for text in found if least <= len(re.findall(r"[^\W\d_]", text)) <= most]
            chosen = rng.sample(chosen, min(len(chosen), arguments.rows))
            if len(chosen) < 20:
                continue
            told = [detect_language(text) for text in chosen]
            n_texts += len(told)
            right = [language.codes[0] == code for language in told]
            sure = [is_right for is_right, language in zip(right, told, strict=True) if language.is_sure]
            refused = [language.is_sure and language.codes[0] not in texts for language in told]
            of_sure = f"{sum(sure) / len(sure):.1%}" if sure else "-"
            length = f"{least}-{most}" if most < 10**9 else f"{least}-"
            print(
                f"{code:8} {length:>9} {len(chosen):7} {sum(right) / len(right):7.1%} "
                f"{len(sure) / len(told):6.1%} {of_sure:>8} {sum(refused) / len(told):15.2%}"
            )
    seconds = time.perf_counter() - begin
    print(f"{n_texts} texts, {seconds / n_texts * 1e6:.0f} microseconds each")


if __name__ == "__main__":
    main()
