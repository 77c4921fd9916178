"""Pairs as files: read by training, of LLaVA's form, equal bytes for equal pairs."""

import json
from dataclasses import replace

import pytest

from gooseguard.data import instruction_files
from gooseguard.data.instruction_files import Pair, PairWriter, to_llava
from gooseguard.data.instructions import instruction_files as files_of
from gooseguard.data.instructions import read_instructions
from gooseguard.data.llava import read_llava
from gooseguard.data.questions import Kind, LabelledRow, Medium, Question

ROW = LabelledRow("a/1", "you <slur>", {"insult": 1.0}, source="a", language="en")
QUESTION = Question(ROW, Kind.YES_NO, "yes_no/3", "Is it an insult?", ("insult",), ("insult",), None, "Yes.")
IMAGE = (Medium("image", "media/1.png"),)
PAIR = Pair(QUESTION, "Yes. It is.", "instruction", "labels", "d" * 64, 7)


def pair_of(number, **row):
    return replace(PAIR, question=replace(QUESTION, row=replace(ROW, id=f"a/{number}", **row)))


def write(folder, pairs):
    folder.mkdir()
    with PairWriter(folder, folder) as writer:
        for split, pair in pairs:
            writer.write(split, pair)
    return writer


def test_shards_are_what_training_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(instruction_files, "SHARD_ROWS", 2)
    write(tmp_path / "a", [("train", pair_of(number)) for number in range(5)] + [("val", pair_of(9))])
    paths = files_of(tmp_path / "a", "train")
    assert [path.name for path in paths] == [f"train-0000{number}.jsonl.gz" for number in range(3)]
    conversations = [one for path in paths for one in read_instructions(path, "chat")]
    assert [one.id for one in conversations] == [f"a/{number}#yes_no" for number in range(5)]
    assert conversations[0].template == "instruction"
    [turn] = conversations[0].turns
    assert (turn.instruction, turn.content, turn.answer) == ("Is it an insult?", "you <slur>", "Yes. It is.")
    assert len(files_of(tmp_path / "a", "val")) == 1


def test_each_row_records_how_it_was_made(tmp_path):
    import gzip

    write(tmp_path / "a", [("train", PAIR)])
    row = json.loads(gzip.decompress((tmp_path / "a" / "train-00000.jsonl.gz").read_bytes()))
    assert {key: row[key] for key in ("wording", "teacher", "prompt_digest", "seed", "asked", "flagged")} == {
        "wording": "yes_no/3", "teacher": "labels", "prompt_digest": "d" * 64, "seed": 7, "asked": ["insult"],
        "flagged": ["insult"],
    }  # fmt: skip


def test_llava_form(tmp_path):
    image, images = (Medium("image", "media/1.png"),), (Medium("image", "m/1"), Medium("image", "m/2"))
    rows = [pair_of(1), pair_of(2, media=image), pair_of(3, media=images, text="")]
    film = pair_of(4, media=(Medium("video", "m/3"),))
    writer = write(tmp_path / "a", [("train", pair) for pair in [*rows, film]])
    found = json.loads((tmp_path / "a" / "llava-train.json").read_text())
    assert found[0] == {
        "id": "a/1#yes_no",
        "conversations": [
            {"from": "human", "value": "Is it an insult?\nyou <slur>"},
            {"from": "gpt", "value": "Yes. It is."},
        ],
    }
    assert found[1]["image"] == "media/1.png"
    assert found[1]["conversations"][0]["value"] == "<image>\nIs it an insult?\nyou <slur>"
    assert (found[2]["image"], found[2]["conversations"][0]["value"]) == (
        ["m/1", "m/2"], "<image>\n<image>\nIs it an insult?",
    )  # fmt: skip
    assert to_llava(film) is None
    assert (writer.n_pairs, writer.n_llava) == ({"train": 4}, {"train": 3})


def test_visual_training_reads_llava_form(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "1.png").write_bytes(b"not looked at here")
    write(tmp_path / "a", [("train", pair_of(1)), ("train", pair_of(2, media=IMAGE))])
    first, second = read_llava(tmp_path / "a" / "llava-train.json", tmp_path)
    assert (first.id, first.turns[0].images, first.turns[0].answer) == ("a/1#yes_no", (), "Yes. It is.")
    assert second.turns[0].images == (tmp_path / "media" / "1.png",)
    assert second.turns[0].question.split("\n") == ["", "Is it an insult?", "you <slur>"]


def test_equal_pairs_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, [("train", pair_of(number)) for number in range(3)])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_files_are_closed_where_writing_breaks_off(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError, match="stop"), PairWriter(tmp_path / "a", tmp_path) as writer:
        writer.write("train", PAIR)
        raise RuntimeError("stop")


def test_a_text_that_speaks_of_images_has_none_of_its_own(tmp_path):
    pair = replace(pair_of(1, text="<image> you <slur>", media=IMAGE), answer='Yes, "<image> you".')
    write(tmp_path / "a", [("train", pair)])
    [row] = json.loads((tmp_path / "a" / "llava-train.json").read_text())
    assert row["conversations"] == [
        {"from": "human", "value": "<image>\nIs it an insult?\n[image] you <slur>"},
        {"from": "gpt", "value": 'Yes, "[image] you".'},
    ]
    [conversation] = read_instructions(files_of(tmp_path / "a", "train")[0], "chat")
    assert conversation.turns[0].content == "<image>\n[image] you <slur>"
