"""Random Mod-VisualRWKV models in the published layout, and CLIP towers in theirs, as files.

The backbone is that of `official_files.py`; the tower's tensors are named as published, by hand.
"""

import json

import numpy as np
import torch
from safetensors.torch import save_file

WIDTH, MLP, LAYERS, HEADS, PATCH = 32, 48, 3, 4, 4


def tower_tensors(rng, side=3, width=WIDTH):
    """Give a CLIP tower of 3 blocks and `side` by `side` patches, float32, under the published names."""

    def normal(*shape, scale=None):
        return rng.normal(0, scale or 1 / np.sqrt(shape[-1]), shape)

    tensors = {
        "embeddings.class_embedding": normal(width, scale=1.0),
        "embeddings.patch_embedding.weight": normal(width, 3, PATCH, PATCH, scale=0.15),
        "embeddings.position_embedding.weight": normal(side * side + 1, width, scale=0.5),
    }
    norms = ["pre_layrnorm", "post_layernorm"]
    for i in range(LAYERS):
        block = f"encoder.layers.{i}."
        norms += [f"{block}layer_norm1", f"{block}layer_norm2"]
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            tensors[f"{block}self_attn.{name}.weight"] = normal(width, width)
            tensors[f"{block}self_attn.{name}.bias"] = normal(width, scale=0.1)
        tensors[f"{block}mlp.fc1.weight"] = normal(MLP, width)
        tensors[f"{block}mlp.fc1.bias"] = normal(MLP, scale=0.1)
        tensors[f"{block}mlp.fc2.weight"] = normal(width, MLP)
        tensors[f"{block}mlp.fc2.bias"] = normal(width, scale=0.1)
    for norm in norms:
        tensors[f"{norm}.weight"] = 1 + normal(width, scale=0.1)
        tensors[f"{norm}.bias"] = normal(width, scale=0.1)
    return {f"vision_model.{name}": value.astype(np.float32) for name, value in tensors.items()}


def projector_tensors(rng, n_embd, *, is_gated=False):
    matrix = rng.normal(0, 1 / np.sqrt(WIDTH), (n_embd, WIDTH))
    if not is_gated:
        return {"weight": matrix.astype(np.float32)}
    return {
        "gate.weight": rng.normal(0, 1 / np.sqrt(WIDTH), (WIDTH, WIDTH)).astype(np.float32),
        "o_proj.weight": matrix.astype(np.float32),
        "ln_v.weight": rng.normal(1, 0.1, n_embd).astype(np.float32),
        "ln_v.bias": rng.normal(0, 0.1, n_embd).astype(np.float32),
    }


def visual_tensors(rwkv_tensors, n_embd, seed=0, side=3, *, is_gated=False):
    """Join a backbone's tensors with a random tower and projector, float32, under the names of one file."""
    rng = np.random.default_rng(seed)
    parts = {
        "rwkv.": rwkv_tensors,
        "vit.": tower_tensors(rng, side),
        "proj.": projector_tensors(rng, n_embd, is_gated=is_gated),
    }
    return {f"{prefix}{name}": value for prefix, table in parts.items() for name, value in table.items()}


def write_visual(folder, tensors, dtype=torch.float32, name="visual.pth", **settings):
    """Write a folder: the single file as `torch.save` writes it, and `visual.json`; heads are 4."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(
        {key: torch.from_numpy(np.ascontiguousarray(value)).to(dtype) for key, value in tensors.items()},
        folder / name,
    )
    (folder / "visual.json").write_text(json.dumps({"n_head": HEADS, **settings}))
    return folder


def write_tower(folder, tensors, side=3, **changes):
    """Write a tower as CLIP models are published: config, preprocessor and safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "clip_vision_model",
        "architectures": ["CLIPVisionModel"],
        "hidden_size": WIDTH,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "image_size": side * PATCH,
        "patch_size": PATCH,
        "hidden_act": "quick_gelu",
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    size = {
        "size": {"shortest_edge": side * PATCH},
        "crop_size": {"height": side * PATCH, "width": side * PATCH},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(size))
    save_file(
        {name: torch.from_numpy(value) for name, value in tensors.items()}, folder / "model.safetensors"
    )
    return folder
