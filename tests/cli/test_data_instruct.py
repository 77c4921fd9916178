"""The verb `data instruct`, as a process against a real server: results, resuming after a kill, estimates."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gooseguard.cli.main import create_app, run_app


def load(name):
    path = Path(__file__).parents[1] / "contracts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made, chat = load("labelled_dataset"), load("chat_server")


@pytest.fixture
def recipe(tmp_path):
    made.write(tmp_path / "dataset", {"train": made.some_rows(60), "val": made.some_rows(2, 100)})
    path = tmp_path / "recipe.toml"
    path.write_text(f'name = "mine"\ndata = "{tmp_path}/dataset"\n[questions]\nkinds = ["yes_no"]\n')
    return path


def command(recipe, *words):
    return [sys.executable, "-m", "gooseguard", "data", "instruct", str(recipe), *words]


def run(recipe, *words, key=None):
    environment = {**os.environ, **({"GOOSEGUARD_TEACHER_KEY": key} if key else {})}
    return subprocess.run(
        command(recipe, *words), check=False, capture_output=True, text=True, env=environment, timeout=60
    )


def teacher(server, *words):
    return ["--set", f"teacher.url={server.url}", "--set", "teacher.model=some-model", *words]


def answer(body):
    verdict = json.loads(body["messages"][1]["content"])["verdict"]
    return chat.completion(f"{verdict}. It is so because of what the writer says.")


def test_by_labels(recipe, tmp_path):
    done = run(recipe, "--output", str(tmp_path / "pairs"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "train: 60 pairs", "val: 2 pairs", "answered by: labels 62", f"folder: {tmp_path}/pairs",
    ]  # fmt: skip
    assert (tmp_path / "pairs" / "llava-train.json").is_file()


def test_a_kill_in_the_middle_and_the_same_command_again(recipe, tmp_path):
    output = ["--output", str(tmp_path / "pairs"), "--json"]
    with chat.serve(chat.slow(answer, 0.05)) as server:
        words = [*output, *teacher(server, "--set", "teacher.parallel=2")]
        process = subprocess.Popen(command(recipe, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while len(server.bodies) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "pairs").exists()
        asked = len(server.bodies)
        assert 20 <= asked < 60
        done = run(recipe, *words, key="sk-secret")
        assert done.returncode == 0, done.stderr
        # At most the two that were under way are asked for twice.
        assert 62 <= len(server.bodies) <= 64
        assert server.headers[-1]["authorization"] == "Bearer sk-secret"
    result = json.loads(done.stdout)
    assert result["facts"]["pairs"] == {"train": 60, "val": 2}
    assert result["account"]["all_runs"]["answers"] == 62
    assert result["account"]["this_run"]["kept_before"] >= asked - 2
    # What it would cost is said before.
    assert "questions to ask" in done.stderr
    assert "sk-secret" not in done.stderr + done.stdout


def test_an_estimate_without_asking(recipe, capsys):
    with chat.serve(answer) as server:
        words = [
            "data",
            "instruct",
            str(recipe),
            *teacher(server, "--set", "teacher.prompt_price=10"),
            "--dry-run",
        ]
        assert run_app(create_app(), [*words, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert run_app(create_app(), words) == 0
    assert server.bodies == []
    assert (found["questions"], found["kept"]) == (62, 0)
    assert 0 < found["about_cost"] < found["most_cost"]
    assert capsys.readouterr().out.startswith("62 questions to ask, 0 answered before; about ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dry-run"], "there is no teacher to ask"),
        (["--set", "questions.kind=a"], "unknown key 'kind'; expected one of kinds"),
        (["--set", "data=nowhere"], "expected a finished dataset folder"),
        (["--set", "teacher.url=x", "--set", "teacher.model=m"], "endpoint url: expected http"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(recipe, tmp_path, capsys, words, message):
    status = run_app(
        create_app(), ["data", "instruct", str(recipe), "--output", str(tmp_path / "pairs"), *words]
    )
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert message in said.err.splitlines()[-1]
