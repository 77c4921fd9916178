import importlib.util
from pathlib import Path

import pytest

from gooseguard.codec.prompt import encode, render
from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ContentError
from gooseguard.models.generate import Delta, Finish, Sampling
from gooseguard.models.responder import Responder

_path = Path(__file__).parents[1] / "contracts" / "official_files.py"
_spec = importlib.util.spec_from_file_location("official_files", _path)
official = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(official)

CONTENT = Content.from_text("you moron")


@pytest.fixture(scope="module", params=official.VERSIONS)
def model(request, tmp_path_factory):
    return official.load_small(tmp_path_factory.mktemp("small"), request.param, " insult", " hate", "\n\n")


def test_an_answer_of_random_weights_is_unparsable(model):
    answer = Responder(model).respond("Is it rude?", CONTENT, Sampling(max_tokens=12))
    assert answer.parsed.flagged is None
    assert answer.parsed.problem
    prompt = encode(render("Is it rude?", "you moron"), model.tokenizer)
    assert answer.n_prompt_token == len(prompt)
    assert answer.n_token <= 12
    assert answer.text == answer.text.strip()


def test_template_and_content_change_the_prompt(model):
    chat, instruction = (
        Responder(model, template=template).read("Is it rude?", CONTENT)
        for template in ("chat", "instruction")
    )
    assert chat.n_token != instruction.n_token
    two = Content((Part.from_text("you"), Part.from_text("moron")))
    assert Responder(model).read("Is it rude?", two).n_token == chat.n_token


def test_only_text_is_read(model):
    picture = Content((Part(Modality.IMAGE, b"\x89PNG", "image/png"),))
    with pytest.raises(ContentError, match="part 0 is image; a language model reads text only"):
        Responder(model).respond("Is it rude?", picture)


def test_answers_are_weighed_as_whole_turns(model):
    responder = Responder(model)
    prefix = responder.read("Is it rude?", CONTENT)
    weights = responder.weigh(prefix, ("insult", "hate"))
    for label, log_prob in weights.items():
        turn = [*model.tokenizer.encode(f" {label}"), *model.tokenizer.encode("\n\n")]
        assert log_prob == pytest.approx(model.log_probs(prefix, [turn])[0], abs=1e-4)


@pytest.mark.parametrize(
    ("text", "finish", "flagged"),
    [
        ("Categories: insult, hate", Finish.STOP, ("insult", "hate")),
        ("Categories: none\nRationale: fine", Finish.STOP, ()),
        ("Categories: insult\nRationale: it is ru", Finish.LENGTH, ("insult",)),
        # It may have been about to become hate/threatening.
        ("Categories: insult, hate", Finish.LENGTH, None),
        ("Categories: hate", Finish.TIME, None),
        ("It is an insult.", Finish.STOP, None),
    ],
)
def test_the_verdict_is_read_out_of_an_answer(model, text, finish, flagged):
    responder = Responder(model)
    answer = responder.make_answer(text, Delta("", 9, finish), responder.read("Is it rude?", CONTENT))
    assert answer.parsed.flagged == flagged
    assert (answer.parsed.problem is None) == (flagged is not None)
    assert answer.text == text
