"""Conversations about images as tokens, and their loss against the language model's own log-probabilities."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from gooseguard.codec.prompt import Piece, Role, encode
from gooseguard.data.llava import VisualConversation, VisualTurn
from gooseguard.models.mod_visual_rwkv import VisualLanguageModel, load_visual
from gooseguard.training.answers import pad_rows
from gooseguard.training.visual_answers import (
    VisualAnswerLoss,
    encode_visual,
    image_spans,
    render_turn,
)


def load_module(name):
    path = Path(__file__).parents[1] / "contracts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


official_files, visual_files = load_module("official_files"), load_module("visual_files")
VOCABULARY = official_files.byte_vocabulary("hello", "\n\n")
A, B = Path("a.png"), Path("b.png")

ROWS = [
    VisualConversation("1", (VisualTurn("\nwhat?", "this", (A,)), VisualTurn("why?", "so it is"))),
    VisualConversation("2", (VisualTurn("hello", "hi"),)),
    VisualConversation("3", (VisualTurn(" ", "a pair", (B, A)),)),
]


def spelled(rows, n):
    """Give row n as text, a row of an image as <n>, and the text of what is learnt."""
    span = slice(rows.rows.offsets[n], rows.rows.offsets[n + 1])
    tokens, flags = rows.rows.tokens[span].tolist(), rows.rows.is_answer[span].tolist()
    words = [f"<{-1 - t}>" if t < 0 else VOCABULARY.decode([t]).decode() for t in tokens]
    return "".join(words), "".join(word for word, flag in zip(words, flags, strict=True) if flag)


def test_each_row_of_an_image_has_its_place_and_answers_are_learnt():
    rows = encode_visual(ROWS, VOCABULARY, "first", 3, 100)
    assert rows.images == (A, B, A)
    assert [spelled(rows, n) for n in range(3)] == [
        (
            "User: <0><0><0>\nwhat?\n\nAssistant: this\n\nUser: why?\n\nAssistant: so it is\n\n",
            " this\n\n so it is\n\n",
        ),
        ("User: hello\n\nAssistant: hi\n\n", " hi\n\n"),
        ("User: <1><1><1>\n<2><2><2>\n\nAssistant: a pair\n\n", " a pair\n\n"),
    ]


def test_the_sandwich_and_rows_that_are_too_long():
    rows = encode_visual(ROWS, VOCABULARY, "middle", 30, 60)
    assert (len(rows.rows), rows.rows.n_too_long, rows.images) == (1, 2, ())
    turn = VisualTurn("what?", "this", (A,))
    pieces = [item.text if isinstance(item, Piece) else "<image>" for item in render_turn(turn, "middle")]
    assert "".join(pieces) == "User: what?\n<image>\nwhat?\n\nAssistant: this\n\n"


def test_images_in_a_batch_are_told_apart():
    tokens = torch.tensor([[1, -1, -1, 2, -2, -2], [-4, -4, -5, -5, 0, 0], [3, 4, 5, 6, 0, 0]])
    assert image_spans(tokens) == [(0, 1, 3), (0, 4, 6), (1, 0, 2), (1, 2, 4)]


@pytest.mark.parametrize(("version", "is_reversed"), [("x052", True), ("x060", True), ("x070", False)])
def test_the_loss_is_that_of_the_answers_alone(tmp_path, version, is_reversed):
    config = official_files.make_config(version, VOCABULARY.vocab_size)
    rwkv = official_files.random_model.random_tensors(config, np.random.default_rng(5))
    tensors = visual_files.visual_tensors(rwkv, config.n_embd, 7)
    visual_files.write_visual(tmp_path, tensors, is_reversed=is_reversed)
    visual, preparation, _ = load_visual(tmp_path)
    pixels = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pooled = visual.pool(visual.vit(pixels))
        frames = visual.project(pooled)
    rows = encode_visual(ROWS, VOCABULARY, "first", 10, 200)
    loss = VisualAnswerLoss(visual, lambda number: pooled[number])
    arrays = pad_rows(rows.rows, np.arange(3))
    found = loss(*map(torch.from_numpy, arrays)).item()

    model = VisualLanguageModel(visual, VOCABULARY, preparation)
    expected, number = 0.0, 0
    for row in ROWS:
        prefix = None
        for turn in row.turns:
            items = render_turn(turn, "first")
            answer = [item for item in items if isinstance(item, Piece) and item.role is Role.ANSWER]
            own = frames[number : number + len(turn.images)]
            number += len(turn.images)
            prefix = model.read_prompt(items[: -len(answer)], own, prefix)
            ids = encode(answer, VOCABULARY)
            expected -= model.log_probs(prefix, [ids])[0]
            prefix = model.read(ids, prefix)
    assert found == pytest.approx(expected, rel=1e-5)
    # Nothing but the projector is learnt, and through everything a gradient reaches it.
    visual.proj.requires_grad_(requires_grad=True)
    loss(*map(torch.from_numpy, arrays)).backward()
    assert loss.learnt == [visual.proj.weight]
    assert (visual.proj.weight.grad != 0).all()
