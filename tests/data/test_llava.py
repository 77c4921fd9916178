import json

import pytest

from gooseguard.core.errors import DataError
from gooseguard.data.llava import VisualConversation, VisualTurn, read_llava


def talk(*words):
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(words)]


@pytest.fixture
def read(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).touch()

    def run(*rows):
        path = tmp_path / "data.json"
        path.write_text(json.dumps(list(rows)))
        return read_llava(path, tmp_path / "images")

    return run


def test_rows_with_one_image_with_several_and_with_none(read, tmp_path):
    a, b = (tmp_path / "images" / name for name in ("a.png", "b.png"))
    rows = read(
        {"id": "x", "image": "a.png", "conversations": talk("<image>\nwhat?", "this", "why?", "so")},
        {"image": ["b.png", "a.png"], "conversations": talk("<image>\n<image>", "two")},
        {"id": 7, "conversations": talk("hello", "hi")},
    )
    assert rows == [
        VisualConversation("x", (VisualTurn("\nwhat?", "this", (a,)), VisualTurn("why?", "so"))),
        VisualConversation("1", (VisualTurn("\n", "two", (b, a)),)),
        VisualConversation("7", (VisualTurn("hello", "hi"),)),
    ]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (3, "row 1: is no object"),
        ({"conversations": []}, "no list of questions and answers"),
        ({"conversations": talk("a", "b", "c")}, "no list of questions and answers"),
        ({"conversations": talk("a", "b")[::-1]}, "turn 0 is not from 'human'"),
        ({"conversations": [{"from": "human"}, {"from": "gpt"}]}, "turn 0 has no value"),
        ({"image": 3, "conversations": talk("a", "b")}, "image is no name"),
        ({"image": "a.png", "conversations": talk("a", "b")}, "has 1 images and 0 <image>"),
        ({"conversations": talk("<image>", "b")}, "has 0 images and 1 <image>"),
        ({"image": "a.png", "conversations": talk("a", "<image>")}, "has 1 images and 1 <image>"),
        (
            {"image": ["a.png", "b.png"], "conversations": talk("<image>", "b", "<image>", "d")},
            "in one question",
        ),
        ({"image": "c.png", "conversations": talk("<image>", "b")}, "its image is not in"),
        ({"conversations": talk("<slur>", " ")}, "a question or an answer is empty"),
        ({"conversations": talk(" ", "b")}, "a question or an answer is empty"),
    ],
)
def test_a_wrong_row_is_named_without_its_words(read, row, found):
    with pytest.raises(DataError, match=found) as caught:
        read({"conversations": talk("a", "b")}, row)
    assert "slur" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]"])
def test_a_wrong_file(tmp_path, text):
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"data\.json: (cannot be read as JSON|is no list)"):
        read_llava(path, tmp_path)
