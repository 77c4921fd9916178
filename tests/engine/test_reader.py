"""Whole texts to scores: the extension in one call against the parts one after another."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gooseguard.codec import extension
from gooseguard.codec.ngram_head import NgramHead
from gooseguard.codec.text_model import HEAD_BIAS, HEAD_WEIGHT
from gooseguard.core.errors import EngineError
from gooseguard.engine.heads import make_heads
from gooseguard.engine.portable import PortableBackbone
from gooseguard.engine.reader import Steps, make_reader
from gooseguard.engine.stored import lay_out_all

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

K = len(tiny.CATEGORIES)
TEXTS = ["you moron", "", "\u200b ", "日本語 😀", "The Ｔhе the", "word " * 900]

needs_extension = pytest.mark.skipif(
    extension.problem() is not None, reason=f"native extension {extension.problem()}"
)


def parts_of(model):
    """Tokenizer, n-gram head and heads of a model, and its tensors as a file has them."""
    stored = lay_out_all(model.tensors, "f32")
    ngrams = NgramHead(stored) if model.config.n_pairs else None
    heads = make_heads(model.tensors[HEAD_WEIGHT], model.tensors[HEAD_BIAS], model.calibration)
    return model.tokenizer, ngrams, heads, stored


@pytest.fixture(params=[0, 300], ids=["plain", "ngrams"])
def model(request):
    return tiny.make_model(n_pairs=request.param)


@needs_extension
def test_one_call_gives_what_the_steps_give(model):
    from gooseguard.engine.native import NativeBackbone

    tokenizer, ngrams, heads, stored = parts_of(model)
    backbone = NativeBackbone(model.config.backbone, stored)
    joined = make_reader(tokenizer, backbone, ngrams, heads, K)
    assert type(joined).__module__ == "gooseguard._native"
    steps = Steps(tokenizer, backbone, ngrams, heads, K)
    for texts in (TEXTS, ["x"], []):
        for found, expected in zip(joined.score(texts), steps.score(texts), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert len(found) == len(texts)


@needs_extension
def test_one_call_keeps_its_parts_and_refuses_what_does_not_fit(model):
    from gooseguard.engine.native import NativeBackbone

    tokenizer, ngrams, heads, stored = parts_of(model)
    reader = NativeBackbone(model.config.backbone, stored).join(tokenizer, ngrams, heads)
    del tokenizer, ngrams, heads
    assert np.isfinite(reader.score(TEXTS)[0]).all()
    with pytest.raises(TypeError, match="item 1 is bytes"):
        reader.score(["a", b"b"])
    wrong = make_heads(np.zeros((K, 7), np.float32), np.zeros(K, np.float32), model.calibration)
    tokenizer, ngrams, _, _ = parts_of(model)
    reader = NativeBackbone(model.config.backbone, stored).join(tokenizer, ngrams, wrong)
    with pytest.raises(EngineError, match="of another model"):
        reader.score(["a"])


def test_a_backbone_of_numpy_is_read_in_steps(model):
    tokenizer, ngrams, heads, _ = parts_of(model)
    reader = make_reader(tokenizer, PortableBackbone(model.config.backbone, model.backbone), ngrams, heads, K)
    assert isinstance(reader, Steps)
    scores, is_visible = reader.score(TEXTS)
    assert is_visible.tolist() == [1, 0, 0, 1, 1, 1]
    assert scores.shape == (len(TEXTS), K)
    alone = np.concatenate([reader.score([text])[0] for text in TEXTS])
    np.testing.assert_allclose(scores, alone, atol=1e-6)
