"""Run in a process of its own: the logits that the `rwkv` package gives for a folder of models.

    python rwkv_package.py FOLDER

FOLDER holds `NAME.safetensors` (official tensor names) beside `NAME.tokens.npy` (int64, (T,)); each gets
`NAME.logits.npy`, float32, (T, vocabulary). The package picks its architecture when it is imported, hence the
process.
"""

import os
import sys
from pathlib import Path

os.environ |= {"RWKV_V7_ON": "1", "RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0"}

import numpy as np
import torch
from rwkv.model import RWKV
from safetensors.torch import load_file


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        for name in ("v0", "v1", "v2"):
            # Its files carry these in layer 0 as well; nothing reads them there.
            tensors.setdefault(f"blocks.0.att.{name}", torch.zeros_like(tensors[f"blocks.1.att.{name}"]))
        base = path.with_suffix("")
        torch.save(tensors, base.with_suffix(".pth"))
        model = RWKV(model=str(base), strategy="cpu fp32")
        tokens = np.load(base.with_suffix(".tokens.npy")).tolist()
        logits, _ = model.forward(tokens, None, full_output=True)
        np.save(base.with_suffix(".logits.npy"), logits.float().numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
