"""The packaged model in float32: every engine and torch give what the definition gives, within 1e-4."""

import numpy as np
import pytest

from gooseguard import backends
from gooseguard.codec import extension
from gooseguard.codec.layout import tensor_shapes
from gooseguard.codec.text_model import HEAD_BIAS, HEAD_WEIGHT
from gooseguard.engine import reference
from gooseguard.engine.portable import PortableBackbone

TOLERANCE = 1e-4
TEXTS = (
    "hello",
    "You are a <slur> and everybody here knows it!!! " * 12,
    "Thanks for the help, see you at 9:30 tomorrow 🙂 — ça va très bien, 谢谢你",
    "I w1ll f1nd y0u. " * 20,
)


@pytest.fixture(scope="module")
def model():
    return backends._read_starter().model


@pytest.fixture(scope="module")
def tokens(model):
    encoded = model.tokenizer.encode_texts(TEXTS)
    return np.split(encoded.ids, encoded.offsets[1:-1])


def head_logits(model, hidden):
    """Give the category logits of hidden states (T, C), in float64."""
    features = np.concatenate([hidden[-1], hidden.mean(axis=0), hidden.max(axis=0)]).astype(np.float64)
    return features @ model.tensors[HEAD_WEIGHT].T.astype(np.float64) + model.tensors[HEAD_BIAS]


def portable_hidden(model, tokens):
    return [hidden for hidden, _ in PortableBackbone(model.config.backbone, model.backbone).run(tokens)]


def native_hidden(model, tokens):
    if extension.problem() is not None:
        pytest.skip(f"native extension {extension.problem()}")
    from gooseguard.engine.native import NativeBackbone

    backbone = NativeBackbone.from_tensors(model.config.backbone, model.backbone, "f32")
    return [hidden for hidden, _ in backbone.run(tokens)]


def torch_hidden(model, tokens):
    torch = pytest.importorskip("torch")
    from gooseguard.models.rwkv import Rwkv

    rwkv = Rwkv(model.config.backbone)
    tensors = model.backbone
    rwkv.load_state_dict(
        {name: torch.from_numpy(np.array(tensors[name])) for name in tensor_shapes(model.config.backbone)}
    )
    with torch.inference_mode():
        return [rwkv(torch.from_numpy(ids.astype(np.int64))[None])[0][0].numpy() for ids in tokens]


@pytest.mark.parametrize("hidden_of", [portable_hidden, native_hidden, torch_hidden])
def test_equals_the_definition(model, tokens, hidden_of):
    tensors = model.backbone
    for ids, hidden in zip(tokens, hidden_of(model, tokens), strict=True):
        exact, _ = reference.forward(model.config.backbone, tensors, ids[None])
        assert np.abs(hidden - exact[0]).max() <= TOLERANCE * max(1.0, np.abs(exact).max())
        assert np.abs(head_logits(model, hidden) - head_logits(model, exact[0])).max() <= TOLERANCE
