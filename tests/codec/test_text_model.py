import hashlib
import importlib.util
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.text_model import (
    StoredTensor,
    TextModelConfig,
    model_digest,
    parse_json,
    weights_digest,
)
from gooseguard.codec.tokenizer import Tokenizer
from gooseguard.core.errors import ArtefactError

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def test_weights_digest_is_what_its_definition_says():
    # The bytes of the definition, written out by hand.
    expected = hashlib.sha256(
        b'["a","F32",[2]]\n'
        + struct.pack("<2f", 1.0, -2.5)
        + b'["b\xc3\xa9","BF16",[1,2]]\n'
        + b"\x80\x3f\x20\xc0"
    ).hexdigest()
    tensors = [
        StoredTensor("a", "F32", np.array([1.0, -2.5], ">f4")),
        StoredTensor("bé", "BF16", np.array([[0x3F80, 0xC020]], np.uint16)),
    ]
    assert weights_digest(tensors) == expected


def test_model_digest_is_what_its_definition_says():
    model = tiny.make_model()
    config = json.dumps(
        {
            "architecture": "mod-rwkv",
            "backbone": {
                "head_size": 32,
                "n_embd": 64,
                "n_ffn": 96,
                "n_layer": 2,
                "rank_a": 8,
                "rank_g": 8,
                "rank_v": 8,
                "rank_w": 8,
                "version": "x070",
                "vocab_size": 300,
            },
            "categories": ["toxicity", "insult", "hate/threatening"],
            "languages": ["de", "en"],
            "name": "tiny-text",
            "normalizer": 1,
            "vocabulary_sha256": hashlib.sha256(tiny.make_tokenizer().to_json().encode()).hexdigest(),
        },
        separators=(",", ":"),
    )
    calibration = (
        '{"hate/threatening":{"bias":0.25,"scale":1.25},"insult":{"bias":-1.0,"scale":1.0},'
        '"toxicity":{"bias":0.0,"scale":0.5}}'
    )
    expected = hashlib.sha256(f"{'0' * 64}\n{config}\n{calibration}".encode()).hexdigest()
    assert model_digest("0" * 64, model.config, model.calibration) == expected


def test_digest_changes_with_everything_that_changes_scores():
    model = tiny.make_model()
    weights = {**model.tensors, "categories.bias": model.tensors["categories.bias"] + np.float32(1e-3)}
    calibration = replace(model.calibration, bias=model.calibration.bias + 1e-9)
    others = [
        replace(model, tensors=weights),
        replace(model, calibration=calibration),
        replace(model, config=replace(model.config, vocabulary_sha256="0" * 64)),
    ]
    assert len({model.digest(), *(other.digest() for other in others)}) == 4
    assert replace(model, card={}).digest() == model.digest()


def test_config_there_and_back():
    config = tiny.make_model().config
    assert TextModelConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    # Each version is written with its own sizes: those of x070 are what published digests cover.
    for version in ("x052", "x060"):
        other = replace(config, backbone=RwkvConfig(2, 128, 11, version=version))
        assert TextModelConfig.from_json(json.loads(json.dumps(other.to_json()))) == other
    with pytest.raises(ArtefactError, match=r"unknown key backbone\.rank_a"):
        TextModelConfig.from_json(other.to_json() | {"backbone": other.backbone.to_json() | {"rank_a": 4}})


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"architecture": "mod-llava"}, ["architecture is 'mod-llava', expected 'mod-rwkv'"]),
        ({"normalizer": 2}, ["normalizer is version 2, expected 1; upgrade gooseguard"]),
        ({"normalizer": True}, ["normalizer is no whole number"]),
        ({"name": "a b"}, ["name is 'a b'"]),
        ({"name": 3}, ["name is no text"]),
        ({"categories": []}, ["categories is empty"]),
        (
            {"categories": ["insult", "insult", "toxicty"]},
            ["names one twice", "unknown category 'toxicty'", "'toxicity'"],
        ),
        ({"categories": [1]}, ["categories is no list of texts"]),
        ({"languages": "en"}, ["languages is no list of texts"]),
        ({"backbone": []}, ["backbone is no object"]),
        (
            {"backbone": {"n_layer": 2.5, "depth": 1}},
            [
                "backbone.n_layer is no whole number",
                "unknown key backbone.depth",
                "backbone.n_embd is missing",
            ],
        ),
        ({"langauges": []}, ["unknown key langauges", "did you mean 'languages'"]),
    ],
)
def test_config_refusals(change, messages):
    with pytest.raises(ArtefactError) as caught:
        TextModelConfig.from_json(tiny.make_model().config.to_json() | change)
    for message in messages:
        assert message in str(caught.value)


def test_config_refuses_what_is_no_object_and_what_is_missing():
    with pytest.raises(ArtefactError, match="no JSON object"):
        TextModelConfig.from_json([])
    with pytest.raises(ArtefactError, match=r"name is missing.*vocabulary_sha256 is missing"):
        TextModelConfig.from_json({})


def test_check_lists_everything_that_is_wrong():
    model = tiny.make_model()
    tensors = {name: tensor for name, tensor in model.tensors.items() if name != "backbone.emb.weight"}
    tensors |= {
        "extra": np.zeros(1, np.float32),
        "backbone.head.weight": np.zeros((300, 64), np.float32),
        "backbone.blocks.1.att.w9": np.zeros(1, np.float32),
        "categories.weight": np.zeros((3, 64), np.float32),
        "backbone.ln_out.bias": np.full(64, np.nan, np.float32),
        "backbone.ln_out.weight": np.zeros(64),
    }
    broken = replace(
        model,
        tensors=tensors,
        tokenizer=Tokenizer([]),
        calibration=replace(model.calibration, categories=model.config.categories[::-1]),
    )
    with pytest.raises(ArtefactError) as caught:
        broken.check("model x")
    message = str(caught.value)
    assert message.startswith("model x: ")
    for part in (
        "emb.weight is missing",
        "extra is unexpected",
        "backbone.head.weight is unexpected",
        "blocks.1.att.w9 is unexpected",
        "categories.weight is (3, 64), expected (3, 192)",
        "backbone.ln_out.bias holds a number that is not finite",
        "backbone.ln_out.weight is float64, expected float32",
        "vocabulary is not the one the config names",
        "calibration is of other categories",
    ):
        assert part in message


def test_check_refuses_a_vocabulary_larger_than_the_embedding():
    model = tiny.make_model()
    small = replace(model.config, backbone=replace(model.config.backbone, vocab_size=260))
    with pytest.raises(ArtefactError, match=r"vocabulary has 263 tokens, the embedding 260 rows"):
        replace(model, config=small).check("model x")


def test_check_passes_a_whole_model():
    tiny.make_model().check("model x")


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', '{"a": -Infinity}', b"\xff", "[" * 100_000])
def test_parse_json_refuses(text):
    with pytest.raises(ArtefactError, match="card is not JSON"):
        parse_json(text, "card")
