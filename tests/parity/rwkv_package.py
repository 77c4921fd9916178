"""Run in a process of its own: what the `rwkv` package gives for a folder of models.

    python rwkv_package.py FOLDER goose|earlier

FOLDER holds `NAME.safetensors` (official tensor names) beside `NAME.tokens.npy` (int64, (T,)); each gets
`NAME.logits.npy`, float32, (T, vocabulary), and `NAME.state.npz`, the state after the last token under the
names and shapes of `engine.reference.State`, B left out. The package picks its architecture when it is
imported, RWKV-7 or all earlier ones, hence the process.
"""

import os
import sys
from pathlib import Path

os.environ |= {"RWKV_V7_ON": str(int(sys.argv[2] == "goose")), "RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0"}

import numpy as np
import torch
from rwkv.model import RWKV
from safetensors.torch import load_file


def main(folder: Path, *, is_goose: bool) -> None:
    torch.set_num_threads(1)
    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        if is_goose:
            for name in ("v0", "v1", "v2"):
                # Its files carry these in layer 0 as well; nothing reads them there.
                tensors.setdefault(f"blocks.0.att.{name}", torch.zeros_like(tensors[f"blocks.1.att.{name}"]))
        base = path.with_suffix("")
        torch.save(tensors, base.with_suffix(".pth"))
        model = RWKV(model=str(base), strategy="cpu fp32")
        tokens = np.load(base.with_suffix(".tokens.npy")).tolist()
        logits, state = model.forward(tokens, None, full_output=True)
        np.save(base.with_suffix(".logits.npy"), logits.float().numpy())
        wkv = torch.stack(state[1::3]).float()
        np.savez(
            base.with_suffix(".state.npz"),
            attention_shift=torch.stack(state[0::3]).float().numpy(),
            # The earlier versions keep it as key index by value index.
            wkv=(wkv if is_goose else wkv.transpose(-1, -2)).numpy(),
            ffn_shift=torch.stack(state[2::3]).float().numpy(),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), is_goose=sys.argv[2] == "goose")
