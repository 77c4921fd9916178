"""Rows of a dataset as questions need them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from gooseguard.core.errors import ArtefactError
from gooseguard.data.labelled_rows import count_rows, read_labelled
from gooseguard.data.plans import write_plan
from gooseguard.data.questions import Medium

_path = Path(__file__).parents[1] / "contracts" / "labelled_dataset.py"
_spec = importlib.util.spec_from_file_location("labelled_dataset", _path)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


def test_texts_labels_marked_words_and_media(tmp_path):
    rows = [
        made.row(1, "you <slur>", {"insult": 1.0}, ("insult", "<slur>")),
        made.row(2, "a caption", {"hate": 0.5}, ("hate", "caption"), image="media/1.png"),
        made.row(3, "", {}, image="media/2.png"),
    ]
    rows[2]["context"] = [{"modality": "text", "text": "how?", "path": None, "sha256": ""}]
    folder = made.write(tmp_path / "set", {"train": rows})
    first, second, third = read_labelled(folder, "train")
    assert (first.id, first.text, dict(first.labels)) == ("a/1", "you <slur>", {"insult": 1.0})
    assert first.quotes == {"insult": ("<slur>",)}
    assert (second.quotes, second.media) == ({"hate": ("caption",)}, (Medium("image", "media/1.png"),))
    assert (third.text, third.context, first.context) == ("", "how?", "")
    assert [row.id for row in read_labelled(folder, "train", 2)] == ["a/1", "a/2"]
    assert (count_rows(folder, "train"), count_rows(folder, "train", 2), count_rows(folder, "val")) == (
        3,
        2,
        0,
    )


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"no manifest\.json"):
        list(read_labelled(tmp_path, "train"))


def test_rows_of_a_plan_come_as_often_as_it_draws_them(tmp_path):
    rows = [made.row(number, f"text {number}", {"insult": 1.0}) for number in range(4)]
    folder = made.write(tmp_path / "set", {"train": rows, "val": rows[:1]})
    write_plan(folder, "few", np.array([0, 2, 2, 2]))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["files"]["plans/few.parquet"] = ""
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    found = [(row.id, row.text) for row in read_labelled(folder, "train", plan="few")]
    assert found == [("a/0", "text 0"), ("a/2", "text 2"), ("a/2~2", "text 2"), ("a/2~3", "text 2")]
    assert [row.id for row in read_labelled(folder, "train", 3, "few")] == ["a/0", "a/2", "a/2~2"]
    assert (count_rows(folder, "train", plan="few"), count_rows(folder, "train", 3, "few")) == (4, 3)
    assert [row.id for row in read_labelled(folder, "val", plan="few")] == ["a/0"]
    with pytest.raises(ArtefactError, match="has no plan 'fe'"):
        list(read_labelled(folder, "train", plan="fe"))
