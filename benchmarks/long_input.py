"""Memory while a long text is read in pieces, by an official checkpoint of each version.

Usage: python benchmarks/long_input.py [--versions x052 x060 x070] [--tokens 100000] [--layers 6]
[--width 256] [--piece 512] [--threads 1]

Writes a random checkpoint in the official layout (bfloat16 `.pth`), loads it as any other, and reads
`--tokens` random tokens with `Rwkv.prefill`. Prints what the process holds (resident memory) after a tenth of
the tokens and after each further one: it must not grow. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from gooseguard.codec.layout import RwkvConfig
from gooseguard.models.official import load_official, write_official
from gooseguard.models.rwkv import Rwkv, State

VOCABULARY = 65536


def held_bytes() -> int:
    """Give the resident memory of this process, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def make_checkpoint(folder: Path, config: RwkvConfig) -> Path:
    """Write a random checkpoint in which every path carries weight."""
    model = Rwkv(config, has_head=True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return write_official(model, folder / "model.pth", torch.bfloat16)


def read_long_text(path: Path, n_token: int, piece: int) -> None:
    """Read and print."""
    model = load_official(path, dtype=torch.float32)
    tokens = torch.randint(0, VOCABULARY, (1, n_token), generator=torch.Generator().manual_seed(1))
    held: list[float] = []
    state: State | None = None
    begin = time.perf_counter()
    for part in tokens.split(n_token // 10, dim=1):
        _, state = model.prefill(part, None, state, piece=piece)
        held.append(held_bytes() / 1e6)
    assert state is not None
    seconds = time.perf_counter() - begin
    size = sum(part.nbytes for part in (state.attention_shift, state.wkv, state.ffn_shift))
    config = model.config
    print(
        f"{config.version} L{config.n_layer} D{config.n_embd}, {n_token:,} tokens, pieces of {piece}, "
        f"float32: {', '.join(f'{value:,.0f}' for value in held)} MB after each tenth; growth from "
        f"the first tenth to the last {held[-1] - held[0]:+.1f} MB; state {size / 1e3:,.0f} KB; "
        f"{n_token / seconds:,.0f} tokens/s",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", nargs="+", default=["x052", "x060", "x070"])
    for name, value in {"tokens": 100_000, "layers": 6, "width": 256, "piece": 512, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for version in given.versions:
        with tempfile.TemporaryDirectory() as folder:
            config = RwkvConfig(given.layers, given.width, VOCABULARY, version=version)
            read_long_text(make_checkpoint(Path(folder), config), given.tokens, given.piece)


if __name__ == "__main__":
    main()
