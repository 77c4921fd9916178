"""A tiny random LLaVA in the published layout, an adapter of it as peft writes it, and pictures."""

import io
import json

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from gooseguard.core.content import Modality, Part
from gooseguard.models.mod_llava import load_llava

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:?.'"
IMAGE_TOKEN = 400


def write_tokenizer(folder):
    """A tokenizer of the kind of Llama's: a mark for spaces, one before each text, bytes for the rest."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *LETTERS]
    merges = [
        ("U", "S"),
        ("E", "R"),
        ("US", "ER"),
        ("\u2581", "USER"),
        ("Y", "e"),
        ("Ye", "s"),
        ("\u2581", "Yes"),
    ]
    words += [first + second for first, second in merges]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in ("<unk>", "<s>", "</s>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def write_llava(root, width=32):
    """Config, safetensors, tokenizer and preprocessor of a model of two layers."""
    tower = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=12,
        patch_size=4,
    )
    llama = LlamaConfig(
        hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=404,
        initializer_range=0.3,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=tower, text_config=llama, image_token_index=IMAGE_TOKEN, image_seq_length=9
    )
    torch.manual_seed(5)  # noqa: TID251  (transformers draws from the global generator)
    LlavaForConditionalGeneration(config).save_pretrained(root)
    write_tokenizer(root)
    size = {"size": {"shortest_edge": 12}, "crop_size": {"height": 12, "width": 12}}
    (root / "preprocessor_config.json").write_text(json.dumps(size))
    return root


def write_adapter(root, folder):
    """A LoRA whose deltas are not zero, and which names `folder` as its base."""
    base, _ = load_llava(folder, torch.float32)
    targets = r".*language_model.*\.(q_proj|v_proj|down_proj)"
    adapted = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3, generator=generator)
    adapted.save_pretrained(root)
    path = root / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(folder)}))
    return root


def picture(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Part(Modality.IMAGE, buffer.getvalue(), "image/png")
