"""Instruction rows: both forms, gzipped or not, and each way to be wrong named with its line."""

import gzip
import json

import pytest

from gooseguard.core.errors import DataError
from gooseguard.data.instructions import Conversation, Turn, instruction_files, read_instructions

FIELDS = {"instruction": "Is this rude?", "content": "you moron", "answer": "Yes."}


@pytest.fixture
def read(tmp_path):
    """Read rows from a file of them; a row may be text already."""

    def run(*rows, name="rows.jsonl"):
        lines = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
        path = tmp_path / name
        path.write_bytes(gzip.compress(lines.encode()) if name.endswith(".gz") else lines.encode())
        return list(read_instructions(path, "chat"))

    return run


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_fields(read, name):
    named = {**FIELDS, "id": "a/1", "template": "instruction", "teacher": "m@1", "seed": 3}
    bare = {"instruction": "Hello", "answer": "Hi"}
    assert read(FIELDS, "", named, bare, name=name) == [
        Conversation(f"{name}:1", (Turn("Is this rude?", "you moron", "Yes."),), "chat"),
        Conversation("a/1", (Turn("Is this rude?", "you moron", "Yes."),), "instruction"),
        Conversation(f"{name}:4", (Turn("Hello", "", "Hi"),), "chat"),
    ]


def messages(*pairs):
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def test_messages(read):
    led = messages(
        ("system", "Judge."), ("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2")
    )
    plain = messages(("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"))
    assert [row.turns for row in read(led, plain)] == [
        (Turn("Judge.", "one", "1"), Turn("", "two", "2")),
        (Turn("one", "", "1"), Turn("two", "", "2")),
    ]


def test_equal_conversations_have_equal_digests_whatever_their_form(read):
    one, two, other, laid_out = read(
        FIELDS,
        messages(("system", "Is this rude?"), ("user", "you moron"), ("assistant", "Yes.")),
        {**FIELDS, "answer": "No."},
        {**FIELDS, "template": "instruction"},
    )
    assert one.digest() == two.digest()
    assert len({one.digest(), other.digest(), laid_out.digest()}) == 3


SECRET = "private words"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "is no JSON"),
        ("[1]", "is a list, expected an object"),
        ({"content": SECRET}, "has no instruction and no answer; expected messages, or instruction"),
        ({**FIELDS, "content": 3}, "instruction, content and answer must be texts"),
        ({**FIELDS, "answer": " "}, "a turn has no words to answer, or an empty answer"),
        ({"instruction": " ", "content": "", "answer": SECRET}, "a turn has no words to answer"),
        ({**FIELDS, "id": 7}, "id or template is no text"),
        (
            {**FIELDS, "template": "instrution"},
            "template 'instrution' is unknown.*did you mean 'instruction'",
        ),
        ({"messages": SECRET}, "messages is no list of {role, content}"),
        ({"messages": [{"role": "user"}]}, "messages is no list of {role, content}"),
        (messages(), "messages must be user and assistant in turn.*found none"),
        (messages(("system", SECRET)), "messages must be user and assistant in turn.*found none"),
        (messages(("user", SECRET)), "found user$"),
        (messages(("user", "a"), ("user", SECRET)), "found user, user$"),
        (messages(("user", "a"), ("system", "b"), ("assistant", SECRET)), "found user, system, assistant$"),
    ],
)
def test_rows_that_are_refused(read, row, message):
    with pytest.raises(DataError, match=rf"^rows.jsonl, line 2: .*{message}") as caught:
        read(FIELDS, row)
    assert SECRET not in str(caught.value)


def test_files_that_are_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(DataError, match=r"rows.jsonl, after line 0: FileNotFoundError"):
        list(read_instructions(path, "chat"))
    path.write_bytes(json.dumps(FIELDS).encode() + b"\n\xff\xfe\n")
    with pytest.raises(DataError, match="UnicodeDecodeError; expected UTF-8 JSON Lines"):
        list(read_instructions(path, "chat"))
    cut = tmp_path / "rows.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps(FIELDS).encode() * 99)[:-20])
    with pytest.raises(DataError, match=r"rows.jsonl.gz, after line 0: EOFError"):
        list(read_instructions(cut, "chat"))


def test_files_of_a_split(tmp_path):
    for name in ("train-1.jsonl", "train-0.jsonl.gz", "val.jsonl", "train.txt", "notes.jsonl"):
        (tmp_path / name).write_text("")
    assert [path.name for path in instruction_files(tmp_path, "train")] == [
        "train-0.jsonl.gz",
        "train-1.jsonl",
    ]
    assert [path.name for path in instruction_files(tmp_path, "val")] == ["val.jsonl"]
    single = tmp_path / "notes.jsonl"
    assert instruction_files(single, "train") == [single]
    assert instruction_files(single, "val") == []
    with pytest.raises(DataError, match="no such file or folder"):
        instruction_files(tmp_path / "none", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no train"):
        instruction_files(tmp_path / "empty", "train")
