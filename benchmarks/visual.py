"""What a Mod-VisualRWKV model of full size takes to load and to score an image with its caption.

Usage: python benchmarks/visual.py [--layers 32] [--width 2560] [--version x052] [--edge 336] [--folder .]

Writes a bfloat16 `.pth` of random weights, normal with a deviation of 0.01, in the shapes of RWKV with
vocabulary 65536 and CLIP ViT-L/14 (removed again), and runs it in a process of its own. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from gooseguard.codec.layout import RwkvConfig, tensor_shapes
from gooseguard.codec.visual_layout import TowerConfig, projector_shapes, tower_shapes_of

LARGE_RANKS = {"rank_w": 96, "rank_a": 96, "rank_v": 64, "rank_g": 320}
"""Of the published RWKV-7 of width 2560."""

RUN = """
import io, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
import gooseguard
from gooseguard.codec.image_format import make_image_part

def held(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field)) / 1e9

def image(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return make_image_part(buffer.getvalue())

def timed(what, run):
    begin, cpu = time.perf_counter(), time.process_time()
    result = run()
    spent = f"{time.perf_counter() - begin:.1f} s ({time.process_time() - cpu:.1f} s of processors)"
    memory = f"most held {held('VmHWM'):.2f} GB, own memory {held('RssAnon'):.2f} GB"
    print(f"{what}: {spent}, {memory}", flush=True)
    return result

caption = gooseguard.Part.from_text("a caption of ordinary length, as people write them below a photo")
threads = int(sys.argv[2])
asked = ["hate", "sexual", "violence/graphic"]
load = lambda: gooseguard.load(sys.argv[1], threads=threads, categories=asked)
scorer = timed("load", load)
for number in range(3):
    content = gooseguard.Content((image(number), caption))
    (scores,) = timed(f"image {number} and caption, 3 categories", lambda: scorer.score([content]))
    assert all(0 <= value <= 1 for value in scores.values.values()), scores
timed("the same image again", lambda: scorer.score([content]))
timed("caption alone", lambda: scorer.score([gooseguard.Content((caption,))]))
print(f"name: {scorer.name}")
"""


def random_tensor(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Draw a tensor; norms are the identity, so that activations stay finite through all layers."""
    if ".ln" in f".{name}" or "layer_norm" in name or "layrnorm" in name or "layernorm" in name:
        return torch.full(shape, float(name.endswith("weight")), dtype=torch.bfloat16)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.01, generator=generator)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--version", default="x052")
    parser.add_argument("--edge", type=int, default=336, help="pixels of the tower's input")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    ranks = LARGE_RANKS if given.version == "x070" else {}
    rwkv = RwkvConfig(given.layers, given.width, 65536, version=given.version, **ranks)
    tower = TowerConfig(1024, 4096, 24, 16, given.edge, 14)
    shapes = {
        **{f"rwkv.{name}": shape for name, shape in tensor_shapes(rwkv, has_head=True).items()},
        **{f"vit.{name}": shape for name, shape in tower_shapes_of(tower).items()},
        **{
            f"proj.{name}": shape
            for name, shape in projector_shapes(1024, given.width, is_gated=False).items()
        },
    }
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "visual.pth"
        torch.save({name: random_tensor(name, shape, generator) for name, shape in shapes.items()}, path)
        size = path.stat().st_size / 1e9
        print(
            f"{given.version} L{given.layers} D{given.width}, CLIP L/14 at {given.edge}: {size:.2f} GB",
            flush=True,
        )
        subprocess.run([sys.executable, "-c", RUN, str(path), str(given.threads)], check=True)


if __name__ == "__main__":
    main()
