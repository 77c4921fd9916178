"""Mod-VisualRWKV from files: what it loads, refuses and makes of images; as scorer and responder, and by the
command line. The exactness of its numbers is in `tests/parity/test_visual.py`."""

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gooseguard import backends
from gooseguard.codec.image import CLIP_MEAN, Preprocessing
from gooseguard.codec.scores import Calibration
from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.core.scorer import ScoreError, Scorer
from gooseguard.core.taxonomy import load_taxonomy
from gooseguard.models.generate import Sampling
from gooseguard.models.mod_visual_rwkv import VisualLanguageModel, load_visual
from gooseguard.models.responder import Responder
from gooseguard.models.scorer import LanguageScorer


def load_module(name):
    path = Path(__file__).parents[1] / "contracts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


official_files, visual_files = load_module("official_files"), load_module("visual_files")
VOCABULARY = official_files.byte_vocabulary("hello", "\n\n")


def make_tensors(version="x060", vocab_size=VOCABULARY.vocab_size, **options):
    config = official_files.make_config(version, vocab_size)
    rwkv = official_files.random_model.random_tensors(config, np.random.default_rng(5))
    rwkv["head.weight"] = 4 * rwkv["head.weight"]
    return visual_files.visual_tensors(rwkv, config.n_embd, 7, **options)


def make_model(folder, version="x060", **settings):
    visual_files.write_visual(folder, make_tensors(version), **settings)
    visual, preparation, path = load_visual(folder)
    return VisualLanguageModel(visual, VOCABULARY, preparation, path)


def picture(seed=0, form="PNG", n_frame=1):
    frames = [
        Image.fromarray(np.random.default_rng(seed + i).integers(0, 256, (15, 20, 3), dtype=np.uint8))
        for i in range(n_frame)
    ]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, **({"save_all": True, "append_images": frames[1:]} if n_frame > 1 else {}))
    return buffer.getvalue()


def image(data):
    return Part(Modality.IMAGE, data, "image/png")


def test_a_file_and_a_folder_load_alike(tmp_path):
    tensors = make_tensors()
    folder = visual_files.write_visual(tmp_path / "a", tensors)
    visual, preparation, path = load_visual(folder)
    assert path == folder / "visual.pth"
    assert preparation == Preprocessing(12, 12, CLIP_MEAN)
    assert not visual.training
    assert set(visual.state_dict()) == set(tensors)
    for name, tensor in visual.state_dict().items():
        assert torch.equal(tensor, torch.from_numpy(tensors[name])), name
    # 32 wide: one head of 64 does not fit, so that heads must be given.
    with pytest.raises(ArtefactError, match="width 32 is no multiple of its 0 heads"):
        load_visual(path)


def test_bfloat16_stays_as_it_is_in_the_backbone(tmp_path):
    folder = visual_files.write_visual(tmp_path, make_tensors(), torch.bfloat16)
    visual, _, _ = load_visual(folder)
    dtypes = {name: tensor.dtype for name, tensor in visual.state_dict().items()}
    assert dtypes["rwkv.blocks.0.att.key.weight"] == torch.bfloat16
    assert dtypes["rwkv.blocks.0.ln1.weight"] == torch.float32
    assert {dtype for name, dtype in dtypes.items() if not name.startswith("rwkv.")} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda tensors: tensors.pop("proj.weight"), r"proj\.\* is missing"),
        (lambda tensors: tensors.update({"proj.weight": np.zeros((32, 9))}), r"proj\.weight is \(32, 9\)"),
        (
            lambda tensors: tensors.pop("vit.vision_model.pre_layrnorm.bias"),
            r"pre_layrnorm\.bias is missing",
        ),
        (
            lambda tensors: tensors.pop("rwkv.blocks.1.ffn.key.weight"),
            r"1\.ffn\.key\.weight is missing",
        ),
        (lambda tensors: tensors.update({"queue": np.zeros(3)}), "queue is unexpected"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path, change, found):
    tensors = make_tensors()
    change(tensors)
    with pytest.raises(ArtefactError, match=found):
        load_visual(visual_files.write_visual(tmp_path, tensors))


def test_a_folder_has_one_file_of_weights(tmp_path):
    with pytest.raises(ArtefactError, match="files of weights: none"):
        load_visual(tmp_path)
    visual_files.write_visual(tmp_path, make_tensors())
    (tmp_path / "other.safetensors").touch()
    with pytest.raises(ArtefactError, match=r"other\.safetensors, visual\.pth; expected exactly one"):
        load_visual(tmp_path)


def test_preparation_of_the_folder_counts_and_must_fit(tmp_path):
    visual_files.write_visual(tmp_path, make_tensors())
    size = {"size": {"shortest_edge": 16}, "crop_size": {"height": 12, "width": 12}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(size))
    assert load_visual(tmp_path)[1] == Preprocessing(16, 12)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ArtefactError, match="cut to 224 pixels, the tower takes 12"):
        load_visual(tmp_path)


def test_scores_of_texts_images_and_both(tmp_path):
    scorer = LanguageScorer(make_model(tmp_path), categories=["insult", "hate", "violence/graphic"])
    assert isinstance(scorer, Scorer)
    assert scorer.name.startswith("visualrwkv-x060-uncalibrated@")
    assert scorer.modalities == {Modality.TEXT, Modality.IMAGE}
    first, second = picture(0), picture(1)
    contents = [
        Content.from_text("hello"),
        Content((image(first),)),
        Content((image(second),)),
        Content((image(first), Part.from_text("hello"))),
        Content((Part.from_text("hello"), image(first))),
        Content((Part.from_text(" "), image(first))),
    ]
    text, one, other, both, turned, blank = scorer.score(contents)
    # Words cannot be in a picture: an insult applies to text only, and has no score without any.
    assert load_taxonomy()["insult"].modalities.isdisjoint({"image"})
    assert one.values["insult"] is None
    assert one.applied["insult"] == frozenset()
    assert one.applied["hate"] == {Modality.IMAGE}
    assert both.applied["hate"] == {Modality.TEXT, Modality.IMAGE}
    assert both.applied["insult"] == {Modality.TEXT}
    assert text.applied["hate"] == {Modality.TEXT}
    hates = [scores.values["hate"] for scores in (text, one, other, both)]
    assert len(set(hates)) == 4
    assert both.values == turned.values
    assert blank.values == one.values


def test_a_text_scores_as_with_the_backbone_alone(tmp_path):
    model = make_model(tmp_path)
    from gooseguard.models.language import LanguageModel

    alone = LanguageScorer(LanguageModel(model.model, VOCABULARY), categories=["hate", "insult"])
    (expected,) = alone.score([Content.from_text("hello")])
    (found,) = LanguageScorer(model, categories=["hate", "insult"]).score([Content.from_text("hello")])
    assert found.values == expected.values


def test_of_several_images_and_frames_the_highest_logit_counts(tmp_path):
    scorer = LanguageScorer(make_model(tmp_path), categories=["hate", "sexual"])
    parts = [image(picture(seed)) for seed in range(3)]
    alone = np.array([scorer.logits(Content((part,))) for part in parts])
    together = scorer.logits(Content(tuple(parts)))
    assert np.array_equal(together, alone.max(0))
    assert not np.array_equal(alone.argmax(0), [0, 0])
    # Lossless, so that each frame is the picture of the same seed.
    frames = scorer.logits(Content((image(picture(0, "PNG", 3)),)))
    assert np.allclose(frames, together, atol=1e-4)


def test_one_bad_image_is_one_error(tmp_path):
    scorer = LanguageScorer(make_model(tmp_path), categories=["hate"])
    good = picture()
    contents = [
        Content((image(good),)),
        Content((Part.from_text("hello"), image(good[:-50]))),
        Content((Part(Modality.AUDIO, b"x", "audio/wav"),)),
        Content((Part.from_text(" "),)),
        Content((image(good),)),
    ]
    first, *errors, last = scorer.score(contents)
    assert first == last
    assert [error.type for error in errors] == ["ContentError"] * 3
    assert errors[0].message.startswith("part 1: the image is damaged or incomplete")
    assert "part 0 is audio" in errors[1].message
    assert all(isinstance(error, ScoreError) for error in errors)


def test_a_calibration_and_the_settings_change_the_name(tmp_path):
    model = make_model(tmp_path / "a")
    plain = LanguageScorer(model, categories=["hate"])
    calibrated = LanguageScorer(model, Calibration(("hate",), np.array([2.0]), np.array([1.0])))
    elsewhere = LanguageScorer(make_model(tmp_path / "b", image_place="last"), categories=["hate"])
    again = LanguageScorer(make_model(tmp_path / "c"), categories=["hate"])
    assert plain.name == again.name
    assert len({plain.name, calibrated.name, elsewhere.name}) == 3
    content = Content((image(picture()),))
    (scores,) = calibrated.score([content])
    logit = plain.logits(content)[0]
    assert scores.values["hate"] == pytest.approx(1 / (1 + np.exp(-(2 * logit + 1))))


def test_the_tower_sees_an_image_once(tmp_path, monkeypatch):
    model = make_model(tmp_path)
    calls = []
    forward = model.visual.vit.forward
    monkeypatch.setattr(model.visual.vit, "forward", lambda pixels: calls.append(1) or forward(pixels))
    for seed in (0, 1, 0, 1, 1):
        model.frames(picture(seed))
    assert len(calls) == 2


def test_answers_depend_on_the_image(tmp_path):
    responder = Responder(make_model(tmp_path))
    prefixes = [
        responder.read("What is it?", Content((image(picture(seed)), Part.from_text("hello"))))
        for seed in (0, 1, 0)
    ]
    assert torch.equal(prefixes[0].logits, prefixes[2].logits)
    assert not torch.allclose(prefixes[0].logits, prefixes[1].logits)
    # Ten rows of the image beside the bytes of the prompt.
    text = "User: \nWhat is it?\nhello\n\nAssistant:"
    n_token = len(VOCABULARY.encode("\n\n")) + len(text.replace("hello", "").encode()) - 2 + 1
    assert prefixes[0].n_token == n_token + 10
    answer = responder.respond("What is it?", Content((image(picture()),)), Sampling(max_tokens=5))
    assert answer.n_token <= 5


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory):
    tensors = make_tensors("x070", official_files.WORLD_ROWS)
    return visual_files.write_visual(tmp_path_factory.mktemp("world"), tensors, torch.bfloat16)


def test_the_command_line_scores_and_answers(world_folder, tmp_path, capsys):
    from gooseguard.cli.main import create_app, run_app

    def run(*arguments):
        status = run_app(create_app(), [*arguments])
        return status, *capsys.readouterr()

    photo = tmp_path / "photo.png"
    photo.write_bytes(picture())
    (tmp_path / "bad.png").write_bytes(picture()[:-60])
    model = ("--threads", "1", "--model", str(world_folder))
    policy = tmp_path / "mine.toml"
    policy.write_text('id = "mine"\nversion = "1"\n[thresholds]\nhate = {review = 0.5, block = 0.9}\n')
    status, out, err = run("score", *model, "--policy", str(policy), "--json", str(photo), "a caption")
    assert status == 0, err
    assert "not calibrated" in err
    verdict = json.loads(out)
    assert 0 < verdict["scores"]["hate"] < 1
    assert verdict["model"].startswith("visualrwkv-x070-uncalibrated@")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        '{"id": "a", "parts": [{"path": "photo.png"}, {"text": "a caption"}]}\n'
        '{"id": "b", "parts": [{"path": "bad.png"}, {"text": "a caption"}]}\n'
        '{"id": "c", "text": "a caption"}\n'
    )
    status, out, err = run("score", *model, "--policy", str(policy), "--json", "--input", str(rows))
    good, bad, text = map(json.loads, out.splitlines())
    assert status == 2
    assert good["scores"] == verdict["scores"]
    assert bad["error"]["message"].startswith("part 0: the image is damaged")
    assert text["scores"] != good["scores"]
    question = ("--instruction", "What is it?", "--max-tokens", "3", "--labels", "yes,no", "--json")
    status, out, err = run("ask", *model, *question, str(photo), "a caption")
    assert status == 0, err
    answer = json.loads(out)
    assert answer["answer"] in ("yes", "no")
    assert sum(np.exp(list(answer["log_probabilities"].values()))) < 1
    status, out, err = run("ask", *model, *question, "--input", str(rows))
    assert status == 2
    assert [list(json.loads(line))[1] for line in out.splitlines()] == ["answer", "error", "answer"]


def test_backends_tell_it_from_others(world_folder, tmp_path):
    assert backends.is_visual(world_folder)
    with pytest.raises(ConfigError, match="spans"):
        backends.load(world_folder, spans=True)
    assert not backends.is_visual(tmp_path)
