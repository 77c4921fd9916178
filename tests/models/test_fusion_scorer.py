"""Encoders and a head as a scorer; the battery of every scorer is in tests/contracts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from gooseguard.codec.scores import Calibration
from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ConfigError, ContentError
from gooseguard.core.scorer import ScoreError
from gooseguard.models.fusion import Features, FusionConfig, FusionKind, make_fusion
from gooseguard.models.fusion_scorer import Encoder, FusionScorer

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
CATEGORIES = ("harm", "hate")

_spec = importlib.util.spec_from_file_location(
    "fusion_model", Path(__file__).parents[1] / "contracts" / "fusion_model.py"
)
fusion_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fusion_model)
encode_bytes, make_scorer, picture = (
    fusion_model.encode_bytes,
    fusion_model.make_scorer,
    fusion_model.picture,
)


def both(text, data=b"image"):
    return Content((Part.from_text(text), picture(data)))


@pytest.mark.parametrize("kind", list(FusionKind))
def test_a_content_scores_as_its_features_do_by_themselves(kind):
    """Batched, padded and masked contents against one call of the head for each, on exactly what it has."""
    scorer = make_scorer(kind, CATEGORIES)
    contents = [both("one"), Content.from_text("a longer text"), Content((picture(b"xy"),)), both("z" * 40)]
    for content, scores in zip(contents, scorer.score(contents), strict=True):
        rows = {part.modality: encode_bytes(part) for part in content.parts}
        features = {
            name: Features.join([rows.get(name)], width) for name, width in scorer.head.config.widths.items()
        }
        logits = scorer.head(features)[0].detach().double().numpy()
        assert list(scores.values.values()) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)
        assert scores.model == scorer.name


def scripted(kind=FusionKind.LATE):
    """A late head whose logit of a modality is its only feature, so that scores can be said beforehand."""
    head = make_fusion(FusionConfig(kind, {TEXT: 1, IMAGE: 1}, ("harm",), width=4, n_head=1))

    class Said(torch.nn.Module):
        config = head.config

        def forward(self, features):
            has = {name: given.is_present for name, given in features.items()}
            said = {name: given.rows[:, 0, 0].nan_to_num() for name, given in features.items()}
            whole = torch.maximum(said[TEXT], said[IMAGE])
            # Text -5 with image -4 is what only the two together say.
            whole = torch.where((said[TEXT] == -5) & (said[IMAGE] == -4), 5.0, whole)
            single = torch.where(has[TEXT], said[TEXT], said[IMAGE])
            return torch.where(has[TEXT] & has[IMAGE], whole, single).unsqueeze(1)

    def encode(part):
        return torch.tensor([[float(part.data.decode())]])

    encoders = {name: Encoder(1, encode, "d") for name in (TEXT, IMAGE)}
    return FusionScorer(Said(), encoders)


@pytest.mark.parametrize(
    ("text", "image", "expected"),
    [("4", "-4", {TEXT}), ("-4", "4", {IMAGE}), ("4", "4", {TEXT, IMAGE}), ("-5", "-4", {TEXT, IMAGE})],
)
def test_scores_say_which_modality_drove_them(text, image, expected):
    (scores,) = scripted().score([both(text, image.encode())])
    assert scores.applied == {"harm": expected}


def test_without_drivers_scores_are_the_same_and_say_what_was_read():
    contents = [both("4", b"-4"), Content.from_text("-3")]
    full = scripted()
    quick = FusionScorer(full.head, full._encoders, finds_drivers=False)
    assert [scores.values for scores in quick.score(contents)] == [
        scores.values for scores in full.score(contents)
    ]
    assert [scores.applied["harm"] for scores in quick.score(contents)] == [{TEXT, IMAGE}, {TEXT}]


def test_with_one_modality_that_one_drove_it():
    text, image = scripted().score([Content.from_text("-3"), Content((picture(b"-3"),))])
    assert text.applied == {"harm": {TEXT}}
    assert image.applied == {"harm": {IMAGE}}


def test_a_part_that_cannot_be_read_is_an_error_of_its_content():
    def refuse(part):
        if part.data == b"bad":
            raise ContentError("the image is damaged")
        return encode_bytes(part)

    scorer = make_scorer(FusionKind.EARLY, CATEGORIES, image=refuse)
    good, bad, empty, last = scorer.score([both("x"), both("x", b"bad"), Content.from_text(""), both("x")])
    assert isinstance(bad, ScoreError)
    assert bad.message == "part 1 (image): the image is damaged"
    assert isinstance(empty, ScoreError)
    assert "nothing to judge" in empty.message
    assert last == good
    (video,) = scorer.score([Content((Part(Modality.VIDEO, b"", "video/mp4"),))])
    assert "part 0 is video; this model reads image and text" in video.message


def test_a_broken_head_gives_no_score():
    scorer = make_scorer(FusionKind.EARLY, CATEGORIES)
    with torch.no_grad():
        scorer.head.categories.bias[0] = torch.nan
    (found,) = scorer.score([both("x")])
    assert isinstance(found, ScoreError)
    assert found.type == "EngineError"


def test_the_name_changes_with_weights_calibration_and_encoders():
    names = {make_scorer(FusionKind.EARLY, CATEGORIES, seed=seed).name for seed in (0, 0, 1)}
    names.add(make_scorer(FusionKind.EARLY, CATEGORIES, digest="other").name)
    calibration = Calibration(CATEGORIES, np.array([2.0, 2.0]), np.zeros(2))
    names.add(make_scorer(FusionKind.EARLY, CATEGORIES, calibration=calibration).name)
    assert len(names) == 4
    assert all(name.startswith("fusion-early@") for name in names)


def test_what_does_not_fit_the_head_is_refused():
    head = make_fusion(FusionConfig(FusionKind.EARLY, {TEXT: 3, IMAGE: 4}, CATEGORIES, width=8))
    encoders = {name: Encoder(3, encode_bytes, "d") for name in (TEXT, IMAGE)}
    with pytest.raises(ConfigError, match="text 3, image 3, the head takes text 3, image 4"):
        FusionScorer(head, encoders)
    for rates in ([0.5], [0.5, 1.0]):
        with pytest.raises(ConfigError, match="expected 2 within"):
            make_scorer(FusionKind.EARLY, CATEGORIES, base_rates=rates)
    with pytest.raises(ConfigError, match="other categories"):
        make_scorer(FusionKind.EARLY, CATEGORIES, calibration=Calibration(("x",), np.ones(1), np.zeros(1)))
