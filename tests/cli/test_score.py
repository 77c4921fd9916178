"""The verb `score` as its users call it: outputs, and every wrong use in one line."""

from __future__ import annotations

import io
import json
import sys

import pytest
from fake_scorer import FakeScorer, load


@pytest.fixture
def score(program, policy):
    def run(*arguments, load=load):
        chosen = () if "--policy" in arguments else ("--policy", policy)
        return program("score", *arguments, *chosen, load=load)

    return run


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return str(path)


def fails(outcome, message):
    """Check: nothing on stdout, one line on stderr, status 2."""
    status, out, err = outcome
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith(f"error: {message}"), err


def test_a_text_as_a_table(score):
    status, out, err = score("you are a moron", "--spans")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert lines[0] == ["BLOCK", "flagged:", "toxicity,", "insult"]
    assert lines[1] == ["category", "score", "review", "block"]
    # 0.97 and 0.75 of 20 cells, rounded.
    assert lines[3] == ["toxicity", "0.970", "█" * 19, "0.50", "0.90", "block"]
    assert lines[4] == ["insult", "0.750", "█" * 15, "0.50", "0.90", "review"]
    assert lines[5] == ["hate", "none", "-", "-"]
    assert lines[6] == ["toxicity", "0.97", "at", "10-15:", "moron"]
    assert lines[7] == ["model", "fake@0123456789ab,", "policy", "mine@1"]
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_harmless_text(score):
    assert score("you are kind")[1].startswith("ALLOW  nothing is flagged\n")


def test_a_text_as_json(score):
    status, out, _ = score("you are a moron", "--json", "--spans")
    assert status == 0
    assert json.loads(out) == {
        "id": "1",
        "action": "block",
        "flagged": True,
        "scores": {"toxicity": 0.97, "insult": 0.75, "hate": None},
        "model": "fake@0123456789ab",
        "policy": "mine@1",
        "spans": [{"part": 0, "begin": 10, "end": 15, "category": "toxicity", "score": 0.97}],
    }


def test_a_text_never_moves_the_terminal(score):
    out = score("\x1b[2J moron \u202e", "--spans")[1]
    assert "\x1b" not in out


def test_options_reach_the_scorer(score):
    asked = []

    def record(model, *, threads, spans, **_):
        asked.append((model, threads, spans))
        return FakeScorer()

    score("a text", "--model", "mine.safetensors", "--threads", "3", "--spans", load=record)
    score("a text", load=record)
    assert asked == [("mine.safetensors", 3, True), (None, None, False)]


def test_json_lines_in_and_out(score, tmp_path):
    path = write(
        tmp_path / "in.jsonl", '{"id": "a", "text": "hi"}', '{"id": 9, "text": "moron"}', '{"text": "hi"}'
    )
    status, out, err = score("--input", path, "--json")
    assert (status, err) == (0, "")
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert [(verdict["id"], verdict["action"]) for verdict in verdicts] == [
        ("a", "allow"),
        ("9", "block"),
        ("3", "allow"),
    ]
    assert list(verdicts[0]) == ["id", "action", "flagged", "scores", "model", "policy", "spans"]


def test_csv_in_and_json_out(score, tmp_path):
    path = write(tmp_path / "in.csv", "key,body", 'a,"one, two"', "b,moron")
    out = score("--input", path, "--text-column", "body", "--id-column", "key", "--json")[1]
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["a", "b"]


def test_rows_as_lines_for_people(score, tmp_path):
    lines = [
        '{"id": "a-very-long-id-of-a-row", "text": "hi"}',
        '{"text": "moron"}',
        '{"id": "\\u001b[2J", "text": "<unscored>"}',
    ]
    status, out, err = score("--input", write(tmp_path / "in.jsonl", *lines))
    assert status == 2
    assert out.splitlines() == [
        "a-very-long-id-~  allow   toxicity 0.02",
        "2                 block   toxicity 0.97, insult 0.75",
        "?[2J              review  ContentError: part 0 cannot be judged",
        "3 rows: 1 block, 1 review, 1 allow (1 could not be scored); model fake@0123456789ab, policy mine@1",
    ]
    assert err == "error: 1 of 3 rows could not be scored; the output says why, row by row\n"


def test_rows_that_cannot_be_scored(score, tmp_path):
    path = write(
        tmp_path / "in.jsonl",
        '{"id": "a", "text": "hi"}',
        "{broken",
        '{"id": "c", "text": "<unscored>"}',
        '{"text": "moron"}',
    )
    status, out, err = score("--input", path, "--json")
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert status == 2
    assert err == "error: 2 of 4 rows could not be scored; the output says why, row by row\n"
    assert [verdict["id"] for verdict in verdicts] == ["a", "2", "c", "4"]
    assert [verdict["action"] for verdict in verdicts] == ["allow", "review", "review", "block"]
    assert verdicts[1] == {
        "id": "2",
        "action": "review",
        "flagged": False,
        "scores": {},
        "model": "fake@0123456789ab",
        "policy": "mine@1",
        "spans": [],
        "error": {
            "type": "DataError",
            "message": "line 2: not JSON at column 2; expected one JSON object a line",
        },
    }
    assert verdicts[2]["error"] == {"type": "ContentError", "message": "part 0 cannot be judged"}


def test_standard_input_is_read_on_a_dash_only(score, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "moron"}\n')))
    assert json.loads(score("--input", "-", "--json")[1])["action"] == "block"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text\nmoron\n")))
    assert json.loads(score("--input", "-", "--format", "csv", "--json")[1])["action"] == "block"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    fails(score("--input", "-"), "stdin has no rows")
    fails(score("-"), "score: TEXT is a dash; for standard input pass --input -")


def test_batches_follow_the_option(score, tmp_path):
    scorer = FakeScorer()
    path = write(tmp_path / "in.jsonl", *['{"text": "hi"}'] * 5)
    assert score("--input", path, "--batch-rows", "2", load=lambda *_, **__: scorer)[0] == 0
    assert [len(batch) for batch in scorer.batches] == [2, 2, 1]


def test_an_output_file_appears_whole(score, tmp_path):
    path = write(tmp_path / "in.jsonl", '{"text": "moron"}', "[]")
    output = tmp_path / "out.jsonl"
    status, out, _ = score("--input", path, "--json", "--output", str(output))
    # Rows with errors are results too.
    assert (status, out) == (2, "")
    assert [json.loads(line)["id"] for line in output.read_text().splitlines()] == ["1", "2"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl", "mine.toml"}


def test_an_output_file_is_left_alone_by_what_fails(score, tmp_path):
    output = tmp_path / "out.jsonl"
    output.write_text("as it was")
    path = write(tmp_path / "in.jsonl", '{"text": "hi"}', '{"text": "<crash>"}')
    status, _, err = score("--input", path, "--json", "--output", str(output), "--batch-rows", "1")
    assert status == 70
    assert err.startswith("error: internal error: KeyError in fake_scorer.py, line ")
    assert "<crash>" not in err
    assert output.read_text() == "as it was"
    assert {entry.name for entry in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl", "mine.toml"}


def test_outputs_that_cannot_be(score, tmp_path):
    path = write(tmp_path / "in.jsonl", '{"text": "hi"}')
    fails(score("--input", path, "--output", path), f"--output {path} is the input; expected another file")
    fails(score("--input", path, "--output", str(tmp_path)), f"--output {tmp_path} is a directory")
    fails(
        score("hi", "--output", str(tmp_path / "none" / "x")),
        f"--output {tmp_path / 'none' / 'x'}: cannot be written",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--polcy", "x"], "no such option: --polcy; did you mean '--policy'? see gooseguard score --help"),
        (["hi", "--threads", "0"], "invalid value for '--threads'"),
        (["hi", "--threads", "many"], "invalid value for '--threads'"),
        (["hi", "--max-characters", "0"], "invalid value for '--max-characters'"),
        (
            ["hi", "--format", "xml"],
            "invalid value for '--format': 'xml' is not one of 'auto', 'jsonl', 'csv', 'tsv'",
        ),
        (["hi", "--input", "x"], "score: got both TEXT and --input; pass one of them"),
        ([], "score: got no text; pass TEXT in quotes, or --input FILE (- is stdin)"),
        (["you", "moron"], "score: got 2 texts, expected one; put quotes around it"),
        ([""], "text is empty; expected at least one visible character"),
        ([" \t"], "text is empty; expected at least one visible character"),
        (["caf\udce9"], "TEXT is not UTF-8; pass it through a file in UTF-8: --input FILE"),
        (
            ["moron" * 10, "--max-characters", "9"],
            "text has 50 characters, more than 9; cut it or raise --max-characters",
        ),
        (["<unscored>"], "the content could not be scored: part 0 cannot be judged"),
        (["--input", "none.jsonl"], "none.jsonl: cannot be opened (No such file or directory)"),
        (["hi", "--policy", "none"], "policy 'none': no such file or packaged policy"),
    ],
)
def test_wrong_uses(score, arguments, message):
    outcome = score(*arguments)
    fails(outcome, message)
    assert "moron" not in outcome[2]


def test_wrong_files(score, tmp_path):
    fails(score("--input", str(tmp_path)), f"{tmp_path} is a directory; expected a JSON Lines or CSV file")
    fails(score("--input", write(tmp_path / "empty.jsonl")), f"{tmp_path}/empty.jsonl has no rows")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    fails(score("--input", str(tmp_path / "picture.png")), f"{tmp_path}/picture.png is binary")
    path = write(tmp_path / "in.csv", "id,comment", "1,hi")
    fails(score("--input", path), f"{path}: no column 'text'; found 'id', 'comment'; pass --text-column NAME")


def test_policies_are_checked_before_anything_is_scored(score, tmp_path):
    unknown = write(
        tmp_path / "unknown.toml",
        'id = "x"',
        'version = "1"',
        "[thresholds]",
        "insulf = {review = 0.5, block = 0.9}",
    )
    fails(score("hi", "--policy", unknown), "policy unknown.toml: unknown category 'insulf'")
    assert "; did you mean 'insult'?" in score("hi", "--policy", unknown)[2]
    path = write(
        tmp_path / "spam.toml",
        'id = "x"',
        'version = "1"',
        "[thresholds]",
        "spam = {review = 0.5, block = 0.9}",
    )
    scorer = FakeScorer()
    outcome = score("hi", "--policy", path, load=lambda *_, **__: scorer)
    fails(outcome, "policy x@1: model fake@0123456789ab does not score spam")
    assert scorer.batches == []


def test_help_has_examples(program):
    status, out, _ = program("score", "--help")
    assert status == 0
    assert 'gooseguard score "you are a moron"' in out
    assert "Exit status: 0 done" in out


def test_a_real_model_from_its_file(program, policy, tiny_model, tmp_path):
    from gooseguard.engine.file import write_engine_file

    path = tmp_path / "tiny.safetensors"
    write_engine_file(path, tiny_model, "f32", tiny_model.digest())
    status, out, err = program(
        "score", "hello", "--json", "--model", str(path), "--policy", policy, "--threads", "1"
    )
    assert (status, err) == (0, "")
    verdict = json.loads(out)
    assert verdict["model"] == f"tiny@{tiny_model.digest()[:12]}"
    assert verdict["action"] == "review"
    # 1 / (1 + e^-2) and 1 / (1 + e^2).
    assert verdict["scores"] == pytest.approx({"toxicity": 0.880797, "insult": 0.119203}, abs=1e-6)


def test_a_model_file_that_is_not_there(program, policy, tmp_path):
    fails(program("score", "hi", "--model", str(tmp_path / "none"), "--policy", policy), "")


def test_an_image_and_its_caption_reach_the_scorer_as_one_content(score, tmp_path):
    from gooseguard.core.content import Modality
    from gooseguard.core.scorer import Scores

    seen = []

    class Seeing(FakeScorer):
        modalities = frozenset({Modality.TEXT, Modality.IMAGE})

        def score(self, contents):
            seen.extend(contents)
            return [Scores({"toxicity": 0.97, "insult": 0.1}, self.name) for _ in contents]

    photo = tmp_path / "photo.GIF"
    photo.write_bytes(b"GIF89a" + bytes(20))
    status, out, err = score(str(photo), "a caption", load=lambda model, **_: Seeing())
    assert (status, err) == (0, "")
    assert out.startswith("BLOCK  flagged: toxicity")
    (content,) = seen
    assert [(str(part.modality), part.data) for part in content.parts] == [
        ("image", photo.read_bytes()),
        ("text", b"a caption"),
    ]


def test_an_image_that_the_model_cannot_read_is_an_error(program, policy, tmp_path):
    """The packaged starter reads text only: no score is made up, neither here nor in a row."""
    photo = tmp_path / "photo.gif"
    photo.write_bytes(b"GIF89a" + bytes(20))
    status, out, err = program("score", str(photo), "a caption")
    assert (status, out) == (2, "")
    assert "part 0 is image" in err
    rows = tmp_path / "in.jsonl"
    write(rows, '{"parts": [{"path": "photo.gif"}]}', '{"text": "have a nice day"}')
    status, out, err = program("score", "--input", str(rows), "--json")
    first, second = map(json.loads, out.splitlines())
    assert status == 2
    assert (first["action"], first["scores"], first["error"]["type"]) == ("review", {}, "ContentError")
    assert second["scores"]["toxicity"] < 0.5


def test_wrong_images(score, tmp_path):
    fails(score("missing.jpg"), "missing.jpg: no such file; expected an image")
    (tmp_path / "photo.png").write_bytes(b"no image")
    fails(score(str(tmp_path / "photo.png")), f"{tmp_path}/photo.png: the image is of no format")
    assert score("look at photo.jpg")[0] == 0
