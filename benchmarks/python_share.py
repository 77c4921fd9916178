"""How much of the way from string to scores is Python: the packaged model, one thread, comments.

    python benchmarks/python_share.py comments.jsonl.gz [--texts 500] [--runs 9]

Takes rows with a "text". Counts the processor time of whole calls to `score`, and within them that of the
compiled tokenizer, engine and heads; the rest is Python: contents taken apart, jobs, result objects, and the
watching itself. The target is 5 %.
"""

import argparse
import statistics
import time
from pathlib import Path

from texts import describe, read_texts, sample

from gooseguard import Content, load


class Watched:
    """An object of the extension; adds up the processor time this thread spends in one of its methods."""

    def __init__(self, inner: object, method: str) -> None:
        self.seconds = 0.0
        self._inner = inner
        self._method = method

    def __getattr__(self, name: str) -> object:
        found = getattr(self._inner, name)
        if name != self._method:
            return found

        def timed(*arguments: object) -> object:
            begin = time.thread_time()
            result = found(*arguments)
            self.seconds += time.thread_time() - begin
            return result

        return timed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    scorer = load(threads=1, backend="native")
    texts = sample(read_texts(options.rows), options.texts)
    print(describe([scorer.count_tokens(text) for text in texts]))
    contents = [Content.from_text(text) for text in texts]
    # What is inside is what is measured.
    tokenizer, backbone = scorer._tokenizer, scorer._backbone  # noqa: SLF001
    encoder = tokenizer._encoder = Watched(tokenizer._encoder, "encode_texts")  # noqa: SLF001
    engine = backbone._backbone = Watched(backbone._backbone, "features")  # noqa: SLF001
    ngrams = scorer._ngrams._tables = Watched(scorer._ngrams._tables, "logits")  # noqa: SLF001
    heads = scorer._heads = Watched(scorer._heads, "scores")  # noqa: SLF001
    watched = (encoder, engine, ngrams, heads)
    for batch in (len(contents), 1):
        rows = []
        for _ in range(options.runs):
            for one in watched:
                one.seconds = 0.0
            begin = time.thread_time()
            for place in range(0, len(contents), batch):
                scorer.score(contents[place : place + batch])
            whole = time.thread_time() - begin
            rows.append((whole, *(one.seconds for one in watched)))
        whole, encoding, running, counting, heading = (
            statistics.median(column) / len(contents) * 1e6 for column in zip(*rows, strict=True)
        )
        shares = sorted(1 - sum(native) / whole for whole, *native in rows)
        print(
            f"{batch} in a call: {whole:.0f} us a text, of which tokenizer {encoding:.0f}, engine "
            f"{running:.0f}, n-grams {counting:.0f}, heads {heading:.0f}; "
            f"Python {statistics.median(shares):.1%} ({shares[0]:.1%} to {shares[-1]:.1%}), "
            "target 5 %"
        )


if __name__ == "__main__":
    main()
