"""What architecture a checkpoint is of, told from the names and shapes of its tensors alone.

Gives the version of what we run, and a plain name for what people may have taken for it, so that a refusal
can say what was found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = "no language model we know"

FOREIGN = (
    (r"^backbone\.emb\.weight$", "a Gooseguard model"),
    (r"^(model\.)?layers\.\d+\.attn\.(r_proj|x_r)", "RWKV-7 under the names of flash-linear-attention"),
    (r"^(rwkv|model)\.blocks\.\d+\.attention\.", "RWKV under the names of transformers"),
    (r"base_model\.model\.|\.lora_[AB]\b", "a LoRA adapter"),
    (r"\.self_attn\.q_proj\.", "a Llama-like transformer"),
    (r"^(transformer\.)?h\.\d+\.attn\.", "a GPT-2-like transformer"),
    (r"encoder\.layer\.\d+\.attention\.self\.", "a BERT-like encoder"),
    (r"\.mixer\.(A_log|in_proj)", "a Mamba model"),
    (r"^blk\.\d+\.", "a model under the names of GGUF"),
    (r"^_strategy$", "a file converted by the rwkv package (use the one it was made from)"),
)
"""Patterns of tensor names, in the order they are tried, and what they are found in."""


def describe(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Give "x052", "x060" or "x070" where the tensors look like that version, else a name for a refusal.

    Source: what tells the versions apart is what `rwkv/model.py` of the `rwkv` package (0.8.32) goes by.
    """
    for pattern, name in FOREIGN:
        if any(re.search(pattern, tensor) for tensor in shapes):
            return name
    attention = {
        name.removeprefix("blocks.0.att."): tuple(shape)
        for name, shape in shapes.items()
        if name.startswith("blocks.0.att.")
    }
    if "emb.weight" not in shapes or not attention:
        return UNKNOWN
    if "r_k" in attention:
        # Variants with an embedding a layer have `s_emb` tensors in the channel mix.
        has_embeddings = any(".s_emb" in name for name in shapes)
        return "RWKV-7 with deep embeddings (x070a or later)" if has_embeddings else "x070"
    if "time_maa_x" in attention:
        return "x060"
    decay = attention.get("time_decay")
    if decay is None:
        return UNKNOWN
    if "ln_x.weight" not in attention:
        return "RWKV-4"
    if "gate.weight" not in attention:
        return "RWKV-5.0"
    return "x052" if len(decay) == 2 and decay[1] > 1 else "RWKV-5.1"
