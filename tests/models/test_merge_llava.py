"""LLaVA and a LoRA of peft become one folder, which answers as both did."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from gooseguard.core.content import Content, Part
from gooseguard.core.errors import ArtefactError
from gooseguard.models.generate import Sampling
from gooseguard.models.merge_llava import merge_llava
from gooseguard.models.mod_llava import load
from gooseguard.models.responder import Responder

# peft asks transformers for a name that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

_spec = importlib.util.spec_from_file_location(
    "tiny_llava", Path(__file__).parents[1] / "contracts" / "tiny_llava.py"
)
tiny_llava = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_llava)
picture = tiny_llava.picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llava.write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def adapter(folder, tmp_path):
    return tiny_llava.write_adapter(tmp_path / "adapter", folder)


@torch.inference_mode()
def test_answers_before_and_after_the_merge_agree(folder, adapter, tmp_path):
    merged = merge_llava(folder, adapter, tmp_path / "merged")
    content, question = Content((picture(), Part.from_text("hello"))), "Is it so?"
    found = []
    for path in (adapter, merged):
        one = load(path, None, 1, dtype=torch.float32)
        responder = Responder(one)
        prefix = responder.read(question, content)
        answer = responder.respond(question, content, Sampling(max_tokens=12))
        found.append((prefix.logits, answer.text, responder.weigh(prefix, ["Yes", "no"])))
    (before, words, weights), (after, same_words, same_weights) = found
    assert torch.allclose(before, after, atol=1e-3)
    assert words == same_words
    assert weights == pytest.approx(same_weights, abs=1e-3)
    plain = Responder(load(folder, None, 1, dtype=torch.float32)).read(question, content).logits
    assert not torch.allclose(plain, before, atol=0.1)
    with pytest.raises(ArtefactError, match="exists"):
        merge_llava(folder, adapter, tmp_path / "merged")


def test_where_the_adapter_says_its_base_lies_counts_for_nothing(folder, adapter, tmp_path):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "elsewhere"}))
    merged = merge_llava(folder, adapter, tmp_path / "merged")
    assert {"config.json", "tokenizer.json", "preprocessor_config.json"} <= {p.name for p in merged.iterdir()}


def test_another_base_is_refused_and_nothing_is_left(adapter, tmp_path):
    other = tiny_llava.write_llava(tmp_path / "other", width=64)
    with pytest.raises(ArtefactError, match="no whole adapter of this base"):
        merge_llava(other, adapter, tmp_path / "merged")
    assert {path.name for path in tmp_path.iterdir()} == {"other", "adapter"}
