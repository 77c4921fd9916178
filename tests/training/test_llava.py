"""LoRA on a tiny LLaVA learns the colour of images; killed and resumed; its loss is that of the answers."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gooseguard.codec.prompt import Piece, Role, encode
from gooseguard.data.llava import read_llava
from gooseguard.models.mod_llava import LlavaModel, load, load_tokenizer
from gooseguard.training.answer_loop import Precision, TuneConfig
from gooseguard.training.answers import pad_rows
from gooseguard.training.llava import LlavaAnswerLoss, attach, train_llava
from gooseguard.training.llava_config import LlavaTuneConfig
from gooseguard.training.processes import Processes
from gooseguard.training.visual_answers import encode_visual, render_turn

_spec = importlib.util.spec_from_file_location(
    "tiny_llava", Path(__file__).parents[1] / "contracts" / "tiny_llava.py"
)
tiny_llava = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_llava)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llava.write_llava(tmp_path_factory.mktemp("llava"))


pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

ALONE = Processes(0, 1, torch.device("cpu"))
COLOURS = {"Yes": (220, 30, 30), "no": (30, 30, 220)}
LOOP = TuneConfig(
    epochs=6,
    learning_rate=1e-2,
    warmup=2,
    step_rows=4,
    longest=200,
    precision=Precision.F32,
    validate_steps=9,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    rows = []
    for number in range(12):
        answer = list(COLOURS)[number % 2]
        noise = np.random.default_rng(number).integers(-25, 25, (9, 9, 3))
        pixels = np.clip(np.array(COLOURS[answer]) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
        talk = [{"from": "human", "value": f"<image>\nred {number}?"}, {"from": "gpt", "value": answer}]
        rows.append({"id": str(number), "image": f"{number}.png", "conversations": talk})
    (root / "data.json").write_text(json.dumps(rows))
    return root


def train(folder, data, output, stop_at=None, **changes):
    config = LlavaTuneConfig(
        "tiny", str(folder), str(data / "data.json"), str(data), rank=8, alpha=16.0, val_fraction=0.2,
        loop=replace(LOOP, **changes),
    )  # fmt: skip
    seen = []

    def report(progress):
        seen.append(progress)
        if progress.step == stop_at:
            raise KeyboardInterrupt

    return train_llava(config, output, load_tokenizer(folder), report, lambda _: None, ALONE), seen


def test_the_loss_is_that_of_the_answers_alone(folder, data):
    model = load(folder, None, 1, dtype=torch.float32)
    rows = read_llava(data / "data.json", data)[:2]
    encoded = encode_visual(rows, model.tokenizer, "first", 9, 200)
    frames = [model.frames(path.read_bytes())[0].clone() for path in encoded.images]
    loss = LlavaAnswerLoss(
        attach(model.llava, 4, 8.0, 0), lambda number: frames[number], model.tokenizer.begin
    )
    arrays = pad_rows(encoded.rows, np.arange(2))
    found = loss(*map(torch.from_numpy, arrays)).item()
    expected = 0.0
    for row, frame in zip(rows, frames, strict=True):
        items = render_turn(row.turns[0], "first")
        answer = [item for item in items if isinstance(item, Piece) and item.role is Role.ANSWER]
        prefix = model.read_prompt(items[: -len(answer)], [frame])
        expected -= model.log_probs(prefix, [encode(answer, model.tokenizer)])[0]
    assert found == pytest.approx(expected, rel=1e-4)
    assert isinstance(model, LlavaModel)


def test_it_learns_and_a_killed_run_goes_on_to_the_same_deltas(folder, data, tmp_path):
    whole, seen = train(folder, data, tmp_path / "whole", resume_s=0.0)
    assert seen[-1].validation_loss < 0.5 * seen[0].loss
    with pytest.raises(KeyboardInterrupt):
        train(folder, data, tmp_path / "killed", stop_at=5, resume_s=0.0)
    again, rest = train(folder, data, tmp_path / "killed", resume_s=0.0)
    assert rest[0].step == 6
    first, second = (load_file(path / "adapter_model.safetensors") for path in (whole, again))
    assert first
    assert all(torch.equal(first[name], second[name]) for name in first)
    # The folder is a model.
    model = load(whole, None, 1, dtype=torch.float32)
    assert model.name.startswith("llava-1.5@")
