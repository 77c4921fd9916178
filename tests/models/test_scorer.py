import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from gooseguard.codec.prompt import encode, render_content, render_preamble, render_question
from gooseguard.codec.scores import Calibration
from gooseguard.core.content import Content
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.scorer import ScoreError
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.models.scorer import LanguageScorer, read_calibration

_path = Path(__file__).parents[1] / "contracts" / "official_files.py"
_spec = importlib.util.spec_from_file_location("official_files", _path)
official = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(official)

CONTENT = Content.from_text("you are a moron")


@pytest.fixture(scope="module", params=official.VERSIONS)
def model(request, tmp_path_factory):
    return official.load_small(tmp_path_factory.mktemp("small"), request.param, " Yes", " No")


def test_a_logit_is_how_much_likelier_yes_is_than_no(model):
    """Against the whole prompt read anew for each category, and each answer by itself."""
    scorer = LanguageScorer(model, categories=("insult", "spam", "hate"))
    assert scorer.ordered_categories == ("insult", "hate", "spam")
    (scores,) = scorer.score([CONTENT])
    for name, logit in zip(scorer.ordered_categories, scorer.logits(CONTENT), strict=True):
        pieces = (
            *render_preamble(),
            *render_content("you are a moron"),
            *render_question(load_taxonomy()[name]),
        )
        prefix = model.read(encode(pieces, model.tokenizer))
        (yes,), (no,) = (model.log_probs(prefix, [model.tokenizer.encode(word)]) for word in (" Yes", " No"))
        assert logit == pytest.approx(yes - no, abs=1e-3)
        assert scores.values[name] == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)), abs=1e-3)


def test_all_categories_of_texts_are_asked_about(model):
    scorer = LanguageScorer(model)
    assert scorer.categories == set(load_taxonomy())
    (scores,) = scorer.score([CONTENT])
    assert set(scores.values) == scorer.categories
    assert scores.model == scorer.name


def test_without_calibration_the_name_says_so(model):
    plain = LanguageScorer(model)
    lines = Calibration(("insult", "hate"), np.array([2.0, 0.5]), np.array([-1.0, 0.25]))
    calibrated = LanguageScorer(model, lines)
    version = model.model.config.version
    assert plain.name.startswith(f"rwkv-{version}-uncalibrated@")
    assert calibrated.name.startswith(f"rwkv-{version}@")
    assert plain.digest != calibrated.digest
    assert calibrated.categories == {"insult", "hate"}
    # Which of them are asked about does not change what they score.
    assert LanguageScorer(model, lines, ("hate",)).name == calibrated.name
    (scores,), (hate,) = (
        scorer.score([CONTENT]) for scorer in (calibrated, LanguageScorer(model, lines, {"hate"}))
    )
    logits = dict(zip(calibrated.ordered_categories, calibrated.logits(CONTENT), strict=True))
    assert scores.values["insult"] == pytest.approx(1 / (1 + math.exp(1.0 - 2.0 * logits["insult"])))
    assert hate.values["hate"] == pytest.approx(scores.values["hate"], abs=1e-6)


def test_what_shows_nothing_is_an_error_of_its_own(model):
    scorer = LanguageScorer(model, categories=("insult",))
    empty, good = scorer.score([Content.from_text(" \n\t"), CONTENT])
    assert isinstance(empty, ScoreError)
    assert empty.type == "ContentError"
    assert not isinstance(good, ScoreError)


def test_tokens_are_counted(model):
    # " Yes" is one token of this vocabulary, every other byte another; a space comes before the text.
    assert LanguageScorer(model, categories=("insult",)).count_tokens("ab Yes") == 4


def test_no_category_left(model):
    with pytest.raises(ConfigError, match="no category to ask about; expected some of toxicity, "):
        LanguageScorer(model, categories=("rudeness",))


def test_a_calibration_file(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(
        json.dumps({"hate": {"scale": 2, "bias": -1}, "insult": {"scale": 0.5, "bias": 0}}), "utf-8"
    )
    lines = read_calibration(path)
    assert lines.categories == ("hate", "insult")
    assert lines.apply(np.array([0.5, 0.0])) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"cannot be read \(FileNotFoundError\)"),
        ("{", r"cannot be read \(JSONDecodeError\)"),
        ("[]", "names no category"),
        ("{}", "names no category"),
        ('{"insults": {"scale": 1, "bias": 0}}', "'insults' is no category; did you mean 'insult'"),
        ('{"insult": {"scale": -1, "bias": 0}}', "scale of 'insult' is -1"),
        ('{"insult": 1}', "'insult' must have scale and bias"),
    ],
)
def test_a_wrong_calibration_file(tmp_path, text, message):
    path = tmp_path / "calibration.json"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(ArtefactError, match=message):
        read_calibration(path)
