"""How long an official checkpoint takes to load, and what memory the process then holds.

Usage: python benchmarks/load_official.py [--layers 32] [--width 2560] [--version x070] [--folder .]

Writes a bfloat16 `.pth` of zeros in the shapes of a model with vocabulary 65536 (5.9 GB by default, removed
again), loads it in a process of its own, then reads every weight once. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from gooseguard.codec.layout import RwkvConfig, tensor_shapes

LARGE_RANKS = {"rank_w": 96, "rank_a": 96, "rank_v": 64, "rank_g": 320}
"""Of the published RWKV-7 of width 2560."""

LOAD = """
import sys, time
from pathlib import Path
from gooseguard.models.official import load_official
def held(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field)) / 1e9
start, begin = held("VmHWM"), time.perf_counter()
model = load_official(sys.argv[1])
print(f"loaded in {time.perf_counter() - begin:.1f} s; most held {held('VmHWM'):.2f} GB ({start:.2f} before)")
for tensor in model.state_dict().values():
    tensor.max()
print(f"all weights read: most held {held('VmHWM'):.2f} GB, of it own memory {held('RssAnon'):.2f} GB")
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--version", default="x070")
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    ranks = LARGE_RANKS if given.version == "x070" else {}
    config = RwkvConfig(given.layers, given.width, 65536, version=given.version, **ranks)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "model.pth"
        shapes = tensor_shapes(config, has_head=True)
        torch.save({name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in shapes.items()}, path)
        print(
            f"{given.version} L{given.layers} D{given.width}: {path.stat().st_size / 1e9:.2f} GB", flush=True
        )
        subprocess.run([sys.executable, "-c", LOAD, str(path)], check=True)


if __name__ == "__main__":
    main()
