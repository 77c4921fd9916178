"""The stage: from a dataset to pairs, by labels, by a teacher, stopped and resumed."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

from gooseguard.chat.client import ChatClient, Endpoint
from gooseguard.core.errors import ArtefactError, ConfigError, DataError, EngineError
from gooseguard.core.manifest import read_manifest
from gooseguard.data.instruct import InstructConfig, answers_path, estimate_cost, instruct
from gooseguard.data.questions import QuestionConfig
from gooseguard.data.teacher import TeacherConfig


def load(name):
    path = Path(__file__).parents[1] / "contracts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made, chat = load("labelled_dataset"), load("chat_server")


@pytest.fixture
def dataset(tmp_path):
    picture = made.row(900, "", {"sexual": 1.0}, image="media/1.png")
    unsure = made.row(901, "hm", {"insult": 0.5})
    rows = {
        "train": [*made.some_rows(40), picture, unsure],
        "val": made.some_rows(4, 100),
        "test": made.some_rows(2, 200),
    }
    return made.write(tmp_path / "dataset", rows)


def answer(body):
    """Answer any of the three kinds as it was told to."""
    asked = json.loads(body["messages"][1]["content"])
    verdict, because = asked["verdict"], "because of what the writer says of a reader."
    if verdict in ("Yes", "No"):
        return chat.completion(f"{verdict}. It is so {because}")
    if "Action:" in asked["question"]:
        return chat.completion(f"Action: {verdict}\nRationale: It is so {because}")
    names = verdict if verdict == "none" else ", ".join(verdict)
    return chat.completion(f"Categories: {names}\nRationale: It is so {because}")


def rows_of(folder, split="train"):
    data = b"".join(gzip.decompress(path.read_bytes()) for path in sorted(folder.glob(f"{split}-*.jsonl.gz")))
    return [json.loads(line) for line in data.splitlines()]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def run(server, dataset, output, **teacher):
    asked = TeacherConfig(server.url, "some-model", **teacher)
    config = InstructConfig("x", str(dataset), teacher=asked)
    with ChatClient(Endpoint(server.url, "some-model", retries=0, timeout_s=5)) as client:
        return instruct(config, dataset, output, client)


def test_labels_alone(dataset, tmp_path):
    config = InstructConfig("x", str(dataset), questions=QuestionConfig(per_row=2))
    steps = []
    result = instruct(config, dataset, tmp_path / "pairs", None, lambda *step: steps.append(step))
    assert result.account is None
    # Two questions about each of 41 and 4 rows; of one nobody is sure, and test is left alone.
    assert result.facts["pairs"] == {"train": 82, "val": 8}
    assert result.facts["rows_without_sure_labels"] == 1
    assert result.facts["answered_by"] == {"labels": 90}
    rows = rows_of(tmp_path / "pairs")
    assert {row["teacher"] for row in rows} == {"labels"}
    assert [row["messages"][1]["content"] for row in rows if row["media"]] == ["<image>"] * 2
    manifest = read_manifest(tmp_path / "pairs", "instructions", 1, verify=True)
    assert manifest.config["questions"]["per_row"] == 2
    assert set(manifest.inputs) == {"dataset"}
    assert steps


def test_the_same_config_gives_the_same_bytes_and_another_seed_others(dataset, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        instruct(
            InstructConfig("x", str(dataset), questions=QuestionConfig(seed=seed)), dataset, tmp_path / name
        )
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert rows_of(tmp_path / "a") != rows_of(tmp_path / "c")


def test_a_teacher_answers_texts_and_labels_answer_images(dataset, tmp_path):
    with chat.serve(answer) as server:
        result = run(server, dataset, tmp_path / "pairs")
    assert result.facts["answered_by"] == {"labels": 1, "teacher": 44}
    assert result.account["this_run"]["answers"] == 44
    # The server counts 10 and 5 tokens an answer.
    assert result.account["all_runs"] == {
        "answers": 44, "prompt_tokens": 440, "completion_tokens": 220, "cost": 0.0,
    }  # fmt: skip
    row = rows_of(tmp_path / "pairs")[0]
    assert row["teacher"].startswith("some-model@")
    assert len(row["prompt_digest"]) == 64


def test_a_run_that_was_stopped_asks_only_for_the_rest_and_writes_the_same_bytes(dataset, tmp_path):
    with chat.serve(answer) as server:
        run(server, dataset, tmp_path / "whole")
        whole = len(server.bodies)
    asked = []

    def dying(body):
        asked.append(body)
        return answer(body) if len(asked) <= 15 else (401, {}, {"error": {"code": "invalid_api_key"}})

    with chat.serve(dying) as server, pytest.raises(EngineError, match="in a row failed"):
        run(server, dataset, tmp_path / "resumed", parallel=1)
    assert not (tmp_path / "resumed").exists()
    assert list(tmp_path.glob("*.partial")) == []
    with chat.serve(answer) as server:
        result = run(server, dataset, tmp_path / "resumed")
        assert len(server.bodies) == whole - 15
    assert result.account["this_run"]["kept_before"] == 15
    assert bytes_of(tmp_path / "resumed") == {
        **bytes_of(tmp_path / "whole"),
        # It names the address of its endpoint.
        "manifest.json": (tmp_path / "resumed" / "manifest.json").read_bytes(),
    }


def test_rejected_answers_are_counted_by_reason_and_their_pairs_left_out(dataset, tmp_path):
    def contrary(body):
        asked = json.loads(body["messages"][1]["content"])
        return chat.completion("I'm sorry, I can't help.") if "number 1" in asked["content"] else answer(body)

    with chat.serve(contrary) as server:
        result = run(server, dataset, tmp_path / "pairs", attempts=2)
    # Rows 1, 10 to 19, and 100 to 103 of val: each asked twice.
    assert result.facts["rejected"] == {"refuses": 30}
    assert result.facts["dropped"] == {"rejected": 15}
    assert result.facts["answered_by"] == {"labels": 1, "teacher": 29}
    assert not any("sorry" in row["messages"][2]["content"] for row in rows_of(tmp_path / "pairs"))


def test_too_many_failures_write_nothing_and_a_few_are_counted(dataset, tmp_path):
    def broken(body):
        asked = json.loads(body["messages"][1]["content"])
        return (200, {}, {"choices": []}) if asked["content"].endswith(("7", "8")) else answer(body)

    with chat.serve(broken) as server:
        with pytest.raises(
            EngineError, match=r"8 of 44 questions got no answer, more than most_failed 0\.05"
        ):
            run(server, dataset, tmp_path / "pairs")
        assert not (tmp_path / "pairs").exists()
        result = run(server, dataset, tmp_path / "pairs", most_failed=0.5)
    assert result.facts["dropped"] == {"unanswered": 8}


def test_an_estimate_asks_nothing_and_makes_no_file(dataset, tmp_path):
    config = InstructConfig(
        "x", str(dataset), teacher=TeacherConfig("http://x.test/v1", "m", prompt_price=1.0)
    )
    found = estimate_cost(config, dataset, tmp_path / "pairs")
    assert (found.questions, found.kept) == (44, 0)
    assert not answers_path(tmp_path / "pairs").exists()
    with pytest.raises(ConfigError, match="no teacher to ask"):
        estimate_cost(InstructConfig("x", str(dataset)), dataset, tmp_path / "pairs")


def test_what_is_wrong_is_said(dataset, tmp_path):
    teacher = TeacherConfig("http://x.test/v1", "m")
    with pytest.raises(ConfigError, match="a teacher needs a client"):
        instruct(InstructConfig("x", str(dataset), teacher=teacher), dataset, tmp_path / "pairs")
    with pytest.raises(ArtefactError, match="expected a finished dataset folder"):
        instruct(InstructConfig("x", "none"), tmp_path / "none", tmp_path / "pairs")
    empty = made.write(tmp_path / "empty", {"train": [made.row(1, "hm", {"insult": 0.5})]})
    with pytest.raises(DataError, match="dataset empty: no pair could be made of train, val"):
        instruct(InstructConfig("x", str(empty)), empty, tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()
