"""Prefill and streaming of each version of RWKV on the native engine, beside NumPy, on the same weights.

    python benchmarks/versions.py [--shape 6x256]

Random weights. Texts of 30 to 60 tokens, each read whole; int8 and float32 on the native engine, float32 in
NumPy, one thread, processor time, runs taken in turns. Before any time is taken the hidden states of the two
float32 ones are compared. One token is a call of the streaming path with its state, from Python, the call
itself included.
"""

import argparse
import runpy
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from interleaved import ratio, take_turns

from gooseguard.codec.layout import RANKS, RwkvConfig
from gooseguard.engine.native import NativeBackbone
from gooseguard.engine.portable import PortableBackbone
from gooseguard.experiment.machine import describe_cpu

VOCABULARY = 8192
TEXTS = 32
STEPS = 100
"""Calls of the streaming path in a run."""
TOLERANCE = 1e-4
"""Root of the mean square of what hidden states in float32, whose standard deviation is 1, differ by."""

_random_model = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "parity" / "random_model.py"))


def stream(backbone: NativeBackbone) -> Callable[[], None]:
    """Give a run of single tokens, each going on from the state of the one before."""

    def run() -> None:
        pool = None
        for token in range(STEPS):
            (pool,) = backbone.pool([[token]], [pool])

    return run


def prefill(
    backbone: NativeBackbone | PortableBackbone, texts: Sequence[npt.NDArray[np.int64]]
) -> Callable[[], object]:
    """Give a run over all texts."""
    return lambda: backbone.pool(texts, keep_state=False)


def measure(config: RwkvConfig, texts: list[npt.NDArray[np.int64]]) -> None:
    """Compare, time and print one version."""
    tensors = _random_model["random_tensors"](config, np.random.default_rng(2))
    tensors.pop("head.weight")
    portable = PortableBackbone(config, tensors)
    native = {dtype: NativeBackbone.from_tensors(config, tensors, dtype) for dtype in ("f32", "int8")}
    pairs = zip(portable.run(texts), native["f32"].run(texts), strict=True)
    differences = np.concatenate([one[0] - other[0] for one, other in pairs])
    difference = float(np.sqrt(np.square(differences).mean()))
    sides = {"NumPy": prefill(portable, texts)}
    sides |= {dtype: prefill(backbone, texts) for dtype, backbone in native.items()}
    sides |= {f"{dtype} step": stream(backbone) for dtype, backbone in native.items()}
    seconds = take_turns(sides, clock=time.process_time)
    n_tokens = sum(map(len, texts))
    speeds = {name: n_tokens / statistics.median(seconds[name]) for name in ("NumPy", *native)}
    steps = {name: statistics.median(seconds[f"{name} step"]) / STEPS * 1e6 for name in native}
    print(
        f"{config.version}: NumPy {speeds['NumPy']:,.0f} tokens/s; "
        + "; ".join(
            f"{name} {speeds[name]:,.0f} tokens/s, {ratio(seconds['NumPy'], seconds[name])} times NumPy, "
            f"one token {steps[name]:.0f} us"
            for name in native
        )
        + f"; float32 differs by {difference:.1e}"
        + ("" if difference < TOLERANCE else ": TOO LARGE, the figures do not count"),
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="6x256", help="layers x width")
    n_layer, n_embd = map(int, parser.parse_args().shape.split("x"))
    rng = np.random.default_rng(1)
    texts = [rng.integers(0, VOCABULARY, length) for length in rng.integers(30, 61, TEXTS)]
    print(
        f"{describe_cpu()}; L{n_layer} D{n_embd}, {TEXTS} texts of 30 to 60 tokens, "
        "1 thread, processor time, medians of 5"
    )
    for version in RANKS:
        measure(RwkvConfig(n_layer, n_embd, VOCABULARY, version=version), texts)


if __name__ == "__main__":
    main()
