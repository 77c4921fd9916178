import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("rwkv")

_path = Path(__file__).parents[1] / "contracts" / "official_files.py"
_spec = importlib.util.spec_from_file_location("official_files", _path)
official = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(official)


@pytest.fixture
def program(program):
    """The program on one thread: torch's threads wait for each other busily."""
    return lambda verb, *words: program(verb, "--threads", "1", *words)


@pytest.fixture(scope="module", params=official.VERSIONS)
def checkpoint(request, tmp_path_factory):
    """A real .pth file of random weights with the World vocabulary's 65,536 rows."""
    return str(official.write_pth(tmp_path_factory.mktemp("pth") / "any.pth", request.param))


@pytest.fixture(scope="module")
def goose(tmp_path_factory):
    return str(official.write_pth(tmp_path_factory.mktemp("pth") / "any.pth", "x070"))


def test_any_official_checkpoint_answers(program, checkpoint):
    words = ("ask", "--model", checkpoint, "--instruction", "Is it rude?", "--max-tokens", "6", "you moron")
    status, out, err = program(*words)
    assert status == 0, err
    assert out.strip()
    assert "the answer was cut (length)" in err
    assert "unparsable" not in err
    # The same as JSON, with what it cost.
    status, line, _ = program(*words, "--json")
    facts = json.loads(line)
    assert status == 0
    assert facts["answer"] == out.strip()
    assert facts["finish"] == "length"
    assert facts["tokens"] == 6
    assert facts["prompt_tokens"] > 8
    assert facts["model"].startswith("rwkv-x0")
    assert "flagged" not in facts


def test_any_official_checkpoint_scores(program, checkpoint, policy):
    status, out, err = program("score", "--model", checkpoint, "--policy", policy, "--json", "you moron")
    assert status == 0, err
    facts = json.loads(out)
    # Only what the policy acts on is asked about.
    assert facts["scores"].keys() == {"toxicity", "insult"}
    assert all(0 <= score <= 1 for score in facts["scores"].values())
    assert "-uncalibrated@" in facts["model"]
    assert err.startswith("note: these scores are not calibrated")


def test_a_calibration_is_used(program, goose, policy, tmp_path):
    lines = {name: {"scale": 0.0001, "bias": bias} for name, bias in (("toxicity", -3), ("insult", 3))}
    path = tmp_path / "lines.json"
    path.write_text(json.dumps(lines), "utf-8")
    words = ("score", "--model", goose, "--policy", policy, "--calibration", str(path), "--json", "you moron")
    status, out, err = program(*words)
    assert (status, err) == (0, "")
    scores = json.loads(out)["scores"]
    # 1 / (1 + exp(3)) and 1 / (1 + exp(-3)).
    assert scores == pytest.approx({"toxicity": 0.0474, "insult": 0.9526}, abs=1e-3)


def test_labels_are_answered_and_weighed(program, goose):
    words = (
        "ask",
        "--model",
        goose,
        "--instruction",
        "Which?",
        "--labels",
        "allow, review,block",
        "--json",
        "x",
    )
    status, out, err = program(*words)
    facts = json.loads(out)
    assert status == 0, err
    assert facts["answer"] in ("allow", "review", "block")
    assert facts["finish"] == "label"
    assert facts["log_probabilities"].keys() == {"allow", "review", "block"}
    assert all(weight < 0 for weight in facts["log_probabilities"].values())


def test_without_an_instruction_categories_are_asked_for_and_nothing_is_guessed(program, goose):
    status, out, err = program("ask", "--model", goose, "--max-tokens", "4", "you moron")
    assert status == 0
    assert out.strip()
    assert "note: the answer is unparsable: the first line does not begin with 'Categories:'" in err
    _, line, _ = program("ask", "--model", goose, "--max-tokens", "4", "--json", "you moron")
    facts = json.loads(line)
    assert facts["flagged"] is None
    assert facts["rationale"] is None
    assert "Categories:" in facts["problem"]


def test_rows_in_rows_out(program, goose, tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = ['{"id": "a", "text": "you moron"}', '{"id": "b"}', '{"id": "c", "text": "have a nice day"}']
    path.write_text("\n".join(rows), "utf-8")
    words = ("ask", "--model", goose, "--instruction", "Rude?", "--max-tokens", "3", "--input", str(path))
    status, out, err = program(*words, "--json")
    facts = [json.loads(line) for line in out.splitlines()]
    assert status == 2
    assert [row["id"] for row in facts] == ["a", "b", "c"]
    assert "answer" in facts[0]
    assert facts[1]["error"]["type"] == "DataError"
    assert "answer" in facts[2]
    assert "1 rows could not be answered" in err
    status, out, _ = program(*words)
    assert [line.split()[0] for line in out.splitlines()] == ["a", "b", "c"]


def test_sampling_options_reach_the_model(program, goose):
    def answer(*words):
        status, out, err = program(
            "ask", "--model", goose, "--instruction", "Say it", "--max-tokens", "8", *words, "you moron"
        )
        assert status == 0, err
        return out

    greedy = answer()
    assert answer("--template", "instruction") != greedy
    drawn = answer("--temperature", "1.5", "--seed", "1")
    assert drawn != greedy
    assert answer("--temperature", "1.5", "--seed", "1") == drawn
    # So few are likelier that only the likeliest is left.
    assert answer("--temperature", "1.5", "--seed", "1", "--top-p", "0.000001") == greedy
    stop = greedy.strip()[2:4]
    assert answer("--stop", stop) == greedy[: greedy.index(stop)].rstrip() + "\n" or stop not in greedy
    assert answer("--time-limit", "0.000001").strip() == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "got no text"),
        (("a", "b"), "got 2 texts"),
        (("a", "--input", "-"), "got both TEXT and --input"),
        (("a", "--top-p", "2"), "top_p is 2.0"),
        (("a", "--labels", "x,,y"), "labels are empty"),
        (("a", "--template", "alpaca"), "alpaca"),
        (("a", "--vocabulary", "absent.txt"), "vocabulary absent.txt: cannot be read"),
        (("",), "text is empty"),
    ],
)
def test_wrong_use(program, goose, words, message):
    status, out, err = program("ask", "--model", goose, *words)
    assert (status, out) == (2, "")
    assert message in err


def test_what_is_no_official_checkpoint(program, tmp_path):
    status, _, err = program("ask", "--model", str(tmp_path / "absent.pth"), "x")
    assert status == 2
    assert "cannot be read" in err
    status, _, err = program("ask", "--model", str(tmp_path), "x")
    assert status == 2
    assert "is no folder of a language model; expected a .pth or safetensors" in err
