"""Mod-LLaVA on a tiny random model in the published layout, held against transformers."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlavaForConditionalGeneration

from gooseguard import backends
from gooseguard.codec.image import preprocess
from gooseguard.codec.prompt import Piece, Role, render
from gooseguard.codec.visual_prompt import place_images
from gooseguard.core.content import Content, Part
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.models.generate import Sampling
from gooseguard.models.mod_llava import load, load_llava, load_tokenizer
from gooseguard.models.responder import Responder
from gooseguard.models.scorer import LanguageScorer

# peft asks transformers for a name that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

_spec = importlib.util.spec_from_file_location(
    "tiny_llava", Path(__file__).parents[1] / "contracts" / "tiny_llava.py"
)
tiny_llava = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_llava)
IMAGE_TOKEN, picture = tiny_llava.IMAGE_TOKEN, tiny_llava.picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llava.write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def model(folder):
    return load(folder, None, 1, dtype=torch.float32)


def test_pieces_are_encoded_as_in_the_middle_of_a_text(folder):
    """Together they are what the tokenizer makes of LLaVA's own prompt."""
    ours, theirs = load_tokenizer(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    head, *body, tail = render("Is it so?", "Yes or no")
    items = [*place_images(head, body, 1, "first"), tail]
    before, after = "USER: ", "\nIs it so?\nYes or no ASSISTANT:"
    pieces = [item.text for item in items if isinstance(item, Piece)]
    ids = [ours.encode(piece) for piece in pieces]
    assert ids[0] == theirs.encode(before, add_special_tokens=False).ids
    # What stands after an image is encoded by LLaVA with the space that begins a text.
    space, *rest = theirs.encode(after, add_special_tokens=False).ids
    assert theirs.id_to_token(space) == "\u2581"
    assert [token for piece in ids[1:] for token in piece] == rest


def test_a_content_has_no_special_tokens_and_a_turn_ends_with_one(folder):
    tokenizer = load_tokenizer(folder)
    assert tokenizer.end not in tokenizer.encode(" </s>")
    assert tokenizer.encode("\n\n") == [tokenizer.end] == [2]
    assert tokenizer.decode([2]) == b"\n\n"
    text = "Yes \u00e9 USER: x\ny"
    assert tokenizer.decode(tokenizer.encode(f" {text}")).decode() == f" {text}"
    assert tokenizer.decode([0, 1]) == b""


@torch.inference_mode()
def test_logits_equal_transformers(folder, model):
    theirs = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    part, tokenizer = picture(), model.tokenizer
    head, *body, tail = render("Is it so?")
    items = [*place_images(head, body, 1, "first"), tail]
    (frame,) = model.frames(part.data)
    ids = [tokenizer.begin]
    for item in items:
        ids += tokenizer.encode(item.text) if isinstance(item, Piece) else [IMAGE_TOKEN] * 9
    pixels = torch.from_numpy(preprocess(part.data, model.preparation))
    expected = theirs(input_ids=torch.tensor([ids]), pixel_values=pixels).logits[0]
    prefix = model.read_prompt(items, [frame])
    assert prefix.n_token == len(ids)
    assert torch.allclose(prefix.logits, expected[-1], atol=1e-4)
    assert expected.std() > 0.1
    # Label log-probabilities: the sum over the tokens of the answer, its end included.
    answer = [*tokenizer.encode(" Yes"), tokenizer.end]
    whole = theirs(input_ids=torch.tensor([[*ids, *answer]]), pixel_values=pixels).logits[0]
    steps = torch.log_softmax(whole[len(ids) - 1 : -1], -1)
    wanted = float(steps.gather(1, torch.tensor(answer).unsqueeze(1)).sum())
    assert model.log_probs(prefix, [answer])[0] == pytest.approx(wanted, abs=1e-3)
    # Greedy answers are those of transformers.
    made = theirs.generate(
        input_ids=torch.tensor([ids]), pixel_values=pixels, max_new_tokens=8, do_sample=False
    )[0, len(ids) :].tolist()
    words = tokenizer.decode(made).decode("utf-8", "replace").partition("\n\n")[0].strip()
    responder = Responder(model)
    got = responder.respond("Is it so?", Content((part,)), Sampling(max_tokens=8))
    assert got.text.replace("\ufffd", "") == words.replace("\ufffd", "").rstrip()


def test_scores_of_texts_and_images(model):
    scorer = LanguageScorer(model, categories=["insult", "hate"])
    first, second, text = scorer.score(
        [Content((picture(0),)), Content((picture(1),)), Content((Part.from_text("hello"), picture(0)))]
    )
    assert scorer.name.startswith("llava-1.5-uncalibrated@")
    assert first.values["insult"] is None
    assert 0 < first.values["hate"] < 1
    assert len({scores.values["hate"] for scores in (first, second, text)}) == 3
    assert scorer.card["layers"] == 2


def test_a_prefix_is_not_changed_by_what_goes_on_from_it(model):
    prefix = model.read([5, 6, 7])
    one, two = (model.read([9], prefix) for _ in range(2))
    assert torch.equal(one.logits, two.logits)
    branches = model.branch(prefix, [[9], [10, 11]])
    assert torch.equal(branches[0].logits, one.logits)
    whole = model.read([5, 6, 7, 10, 11])
    assert torch.allclose(branches[1].logits, whole.logits, atol=1e-5)


@pytest.fixture(scope="module")
def adapter(folder, tmp_path_factory):
    return tiny_llava.write_adapter(tmp_path_factory.mktemp("adapter"), folder)


def test_what_is_no_whole_model_is_refused(folder, tmp_path, adapter):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    from safetensors.torch import load_file, save_file

    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if name.endswith("q_proj.weight") and "language" in name)
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArtefactError, match=r"q_proj\.weight is missing"):
        load_llava(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ArtefactError, match="is no whole LLaVA model"):
        load_llava(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"tokenizer\.json: cannot be read"):
        load_tokenizer(tmp_path)
    with pytest.raises(ConfigError, match="quantisation is 'int3'"):
        load_llava(folder, quantisation="int3")
    with pytest.raises(ConfigError, match="has its own"):
        load(folder, Path("vocabulary.txt"), 1)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "nowhere"}))
    with pytest.raises(ArtefactError, match="its base is not at"):
        load_llava(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_quantisation_without_its_library_is_told(folder):
    with pytest.raises(ConfigError, match=r"quantisation 'nf4': .*bitsandbytes"):
        load_llava(folder, quantisation="nf4")


def test_backends_tell_it_from_others(folder, adapter, tmp_path):
    assert backends.is_llava(folder)
    assert backends.is_llava(adapter)
    assert not backends.is_llava(tmp_path)
    scorer = backends.load(folder, categories=["hate"], threads=1)
    (scores,) = scorer.score([Content((picture(),))])
    assert 0 < scores.values["hate"] < 1
    assert Role.FRAME in {piece.role for piece in render("x")}
