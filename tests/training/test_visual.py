"""Both stages on a tiny model, from files to a folder that scores; killed and resumed; what is refused."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gooseguard.core.errors import ArtefactError, ConfigError, DataError
from gooseguard.models.lora import LoraConfig
from gooseguard.models.mod_visual_rwkv import VisualLanguageModel, load_visual
from gooseguard.models.official import load_official
from gooseguard.models.vision import VisionTower, load_tower
from gooseguard.training.answer_loop import Precision, TuneConfig
from gooseguard.training.processes import Processes
from gooseguard.training.visual import train_visual
from gooseguard.training.visual_config import Learn, VisualTuneConfig


def load_module(name):
    path = Path(__file__).parents[1] / "contracts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


official_files, visual_files = load_module("official_files"), load_module("visual_files")
VOCABULARY = official_files.byte_vocabulary("red", "blue", "\n\n")
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
ALONE = Processes(0, 1, torch.device("cpu"))
LOOP = TuneConfig(
    epochs=15,
    learning_rate=1e-2,
    warmup=2,
    step_rows=4,
    longest=200,
    precision=Precision.F32,
    validate_steps=10,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A backbone, a tower, and twenty rows whose answer is the colour of their image."""
    root = tmp_path_factory.mktemp("visual")
    config = official_files.make_config("x060", VOCABULARY.vocab_size)
    official_files.write_pth(root / "rwkv.pth", "x060", config.vocab_size, 1, torch.float32)
    visual_files.write_tower(root / "tower", visual_files.tower_tensors(np.random.default_rng(2)))
    (root / "images").mkdir()
    rows = []
    for number in range(20):
        colour = ("red", "blue")[number % 2]
        pixels = np.clip(
            np.array(COLOURS[colour]) + np.random.default_rng(number).integers(-25, 25, (9, 9, 3)), 0, 255
        )
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{number}.png")
        talk = [{"from": "human", "value": f"<image>\ncolour {number}?"}, {"from": "gpt", "value": colour}]
        rows.append({"id": str(number), "image": f"{number}.png", "conversations": talk})
    rows.append(
        {"id": "text", "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "red"}]}
    )
    (root / "data.json").write_text(json.dumps(rows))
    return root


def recipe(files, **changes):
    given = {
        "name": "tiny",
        "base": str(files / "rwkv.pth"),
        "data": str(files / "data.json"),
        "images": str(files / "images"),
        "tower": str(files / "tower"),
        "val_fraction": 0.2,
        "loop": LOOP,
    }
    return VisualTuneConfig(**given | changes)


def train(config, output, stop_at=None):
    seen = []

    def report(progress):
        seen.append(progress)
        if progress.step == stop_at:
            raise KeyboardInterrupt

    folder = train_visual(config, output, VOCABULARY, report, lambda _: None, ALONE)
    return folder, seen


@pytest.fixture(scope="module")
def stage_one(files, tmp_path_factory):
    return train(recipe(files), tmp_path_factory.mktemp("one"))


def test_stage_one_learns_the_projector_and_nothing_else(files, stage_one):
    folder, seen = stage_one
    assert seen[-1].validation_loss < 0.5 * seen[4].loss
    visual, preparation, path = load_visual(folder)
    assert path.name == "model.safetensors"
    rwkv, (tower, wanted) = load_official(files / "rwkv.pth"), load_tower(files / "tower")
    assert preparation == wanted
    for part, base in ((visual.rwkv, rwkv), (visual.vit, tower)):
        assert all(map(torch.equal, part.state_dict().values(), base.state_dict().values()))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["kind"] == "visual-model"
    assert manifest["facts"]["rows"]["train"] + manifest["facts"]["rows"]["val"] == 21
    assert set(manifest["inputs"]) == {"base", "tower", "data", "images"}
    # It tells the colours of images apart that it has not seen.
    model = VisualLanguageModel(visual, VOCABULARY, preparation)
    for colour, shade in COLOURS.items():
        path = folder.parent / "new.png"
        Image.new("RGB", (9, 9), shade).save(path)
        (frame,) = model.frames(path.read_bytes())
        from gooseguard.codec.prompt import encode, render, render_answer_turn
        from gooseguard.codec.visual_prompt import place_images

        head, *body, tail = render("colour 77?")
        prefix = model.read_prompt([*place_images(head, body, 1, "first"), tail], [frame])
        answers = [encode(render_answer_turn(word), VOCABULARY) for word in ("red", "blue")]
        red, blue = model.log_probs(prefix, answers)
        assert (red > blue) == (colour == "red")


def test_a_killed_run_goes_on_to_the_same_weights(files, stage_one, tmp_path):
    folder, seen = stage_one
    # A resume point after every step.
    config = recipe(files, loop=replace(LOOP, resume_s=0.0))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, stop_at=7)
    again, rest = train(config, tmp_path)
    assert [progress.step for progress in rest] == list(range(8, len(seen) + 1))
    first, second = (load_file(path / "model.safetensors") for path in (folder, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ArtefactError, match="another recipe or other data"):
        train(recipe(files, loop=replace(LOOP, resume_s=0.0, seed=1)), tmp_path)


def test_stage_two_learns_deltas_that_are_merged(stage_one, files, tmp_path):
    base, _ = stage_one
    config = recipe(
        files,
        base=str(base),
        tower="",
        learn=Learn.LORA,
        image_place="middle",
        lora=LoraConfig(4, 8.0, ("key", "ffn")),
        loop=replace(LOOP, epochs=2, learning_rate=3e-3),
    )
    folder, seen = train(config, tmp_path)
    assert seen[-1].loss < seen[0].loss
    before, after = (load_file(path / "model.safetensors") for path in (base, folder))
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    places = {
        f"rwkv.blocks.{i}.{name}.weight"
        for i in (0, 1)
        for name in ("att.key", "ffn.key", "ffn.value", "ffn.receptance")
    }
    assert changed == {"proj.weight", *places}
    assert load_visual(folder)[0].config.settings.image_place == "middle"


def test_stage_two_learns_all_but_the_tower(stage_one, files, tmp_path):
    base, _ = stage_one
    loop = replace(LOOP, epochs=0.5, learning_rate=1e-3, precision=Precision.BF16)
    folder, _ = train(recipe(files, base=str(base), tower="", learn=Learn.ALL, loop=loop), tmp_path)
    before, after = (load_file(path / "model.safetensors") for path in (base, folder))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("vit.")} <= same
    assert not any(name.startswith(("rwkv.blocks.1.att.key", "proj.", "rwkv.head")) for name in same)


def test_deltas_of_the_tower_are_learnt_and_merged(files, tmp_path):
    folder, seen = train(recipe(files, tower_rank=2, loop=replace(LOOP, epochs=2)), tmp_path)
    assert seen[-1].loss < seen[0].loss
    before, after = load_tower(files / "tower")[0].state_dict(), load_visual(folder)[0].vit.state_dict()
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith("_proj.weight") and ".self_attn." in name}


def test_features_are_kept_on_disk_and_change_nothing(files, tmp_path, monkeypatch):
    """A run that begins anew beside kept features never asks the tower, and learns the same."""
    loop = replace(LOOP, epochs=1)
    plain, _ = train(recipe(files, loop=loop), tmp_path / "plain")
    kept, _ = train(recipe(files, loop=loop, keep_features_gb=0.1), tmp_path / "kept")
    shutil.rmtree(tmp_path / "kept" / "work" / "resume")
    monkeypatch.setattr(VisionTower, "forward", lambda self, pixels: pytest.fail("the tower was asked"))
    again, _ = train(recipe(files, loop=loop, keep_features_gb=0.1), tmp_path / "kept")
    assert again == kept
    first, second = (load_file(path / "model.safetensors") for path in (plain, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_gated_projector_learns(files, tmp_path):
    folder, seen = train(recipe(files, is_gated=True, loop=replace(LOOP, epochs=1)), tmp_path)
    assert seen[-1].loss < seen[0].loss
    assert load_visual(folder)[0].config.is_gated


@pytest.mark.parametrize(
    ("changes", "error", "found"),
    [
        ({"tower": ""}, ConfigError, "is a backbone alone; expected `tower`"),
        ({"tower_rank": -1}, ConfigError, "tower_rank is -1"),
        ({"keep_features_gb": -1.0}, ConfigError, "keep_features_gb is -1.0, expected 0 or more"),
        ({"keep_features_gb": 1.0, "tower_rank": 2}, ConfigError, "expected 0 where the tower learns"),
        ({"grid": 4}, ConfigError, "grid is 4, expected at most 3"),
        ({"loop": replace(LOOP, longest=9)}, DataError, "no training row is left"),
    ],
)
def test_recipes_that_do_not_fit(files, tmp_path, changes, error, found):
    with pytest.raises(error, match=found):
        train(recipe(files, **changes), tmp_path)


def test_a_base_that_sees_needs_no_tower(files, stage_one, tmp_path):
    with pytest.raises(ConfigError, match="has a tower of its own"):
        train(recipe(files, base=str(stage_one[0])), tmp_path)


def test_a_damaged_image_is_told_before_training(files, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in (files / "images").iterdir():
        (images / path.name).write_bytes(path.read_bytes()[: -60 if path.name == "3.png" else None])
    with pytest.raises(DataError, match=r"3\.png: the image is damaged"):
        train(recipe(files, images=str(images)), tmp_path / "run")


@pytest.mark.slow
def test_the_command_line_trains_both_stages_and_scores(files, tmp_path, capsys):
    from gooseguard.cli.main import create_app, run_app

    official_files.write_pth(tmp_path / "world.pth", "x070", official_files.WORLD_ROWS, 1)
    visual_files.write_tower(tmp_path / "tower", visual_files.tower_tensors(np.random.default_rng(2)))
    paths = [f"base={tmp_path}/world.pth", f"tower={tmp_path}/tower"]
    paths += [f"data={files}/data.json", f"images={files}/images", "loop.step_rows=8"]
    recipes = Path(__file__).parents[2] / "recipes"

    def run(*words):
        status = run_app(create_app(), [str(word) for word in words])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    def train_verb(stage, settings):
        recipe = recipes / f"mod-visualrwkv-{stage}.toml"
        words = [word for setting in settings for word in ("--set", setting)]
        run("train", recipe, *words, "--output", tmp_path / stage)
        return tmp_path / stage / "model"

    base = train_verb("projector", paths)
    data = [
        f"data={files}/data.json",
        f"images={files}/images",
        "loop.step_rows=8",
        "learn=lora",
        "lora.rank=4",
    ]
    model = train_verb("tune", [f"base={base}", *data])
    photo = files / "images" / "0.png"
    verdict = json.loads(run("score", "--model", model, "--json", "--threads", "1", photo, "a caption"))
    assert verdict["model"].startswith("visualrwkv-x070-uncalibrated@")
    assert all(0 <= score <= 1 for score in verdict["scores"].values())
