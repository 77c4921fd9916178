"""The program as a process: exit statuses, signals, pipes and bytes that only a real process sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gooseguard.cli import main
from gooseguard.codec import extension

FAKE = [sys.executable, str(Path(__file__).with_name("fake_scorer.py"))]
ENVIRONMENT = os.environ | {"COLUMNS": "80", "PYTHONUTF8": "1"}


def start(*arguments, **options):
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([*FAKE, *arguments], env=ENVIRONMENT, **streams)


def run(*arguments, given=b"", **options):
    with start(*arguments, **options) as process:
        out, err = process.communicate(given, timeout=60)
    return process.returncode, out, err


def test_the_installed_program_says_its_version():
    program = Path(sys.executable).with_name("gooseguard")
    if not program.exists():
        pytest.skip("gooseguard is not installed beside this interpreter")
    outcome = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert outcome.stdout.startswith("gooseguard ")
    assert outcome.stderr == ""


def test_the_command_line_is_light_to_import():
    heavy = "{'numpy', 'torch', 'sklearn', 'tokenizers'}"
    code = f"import gooseguard.cli.main, sys; print(*{heavy} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout == "\n"


def test_no_verb_shows_help(program):
    status, out, err = program()
    assert (status, err) == (0, "")
    assert "Usage: gooseguard" in out
    assert "score" in out


def test_an_unknown_verb(program):
    assert program("scor") == (
        2,
        "",
        "error: no such command 'scor'. Did you mean 'score'? see gooseguard --help\n",
    )


def test_version(program):
    status, out, _ = program("--version")
    assert status == 0
    assert out.startswith("gooseguard 0.")


def test_debug_goes_anywhere_and_shows_the_traceback(program):
    for arguments in (["--debug", "score", ""], ["score", "", "--debug"]):
        status, _, err = program(*arguments)
        assert status == 2
        assert err.startswith("Traceback (most recent call last):")
        assert err.splitlines()[-1].startswith("error: text is empty")
    assert "Traceback" not in program("score", "--", "")[2]


def test_debug_after_two_dashes_is_a_text(program, policy):
    from fake_scorer import load

    status, out, _ = program("score", "--json", "--policy", policy, "--", "--debug", load=load)
    assert (status, json.loads(out)["action"]) == (0, "allow")


def listen_to_interrupts():
    """Undo what a job in the background of a shell inherits: it ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_keeps_what_was_written(policy):
    arguments = ("score", "--input", "-", "--json", "--batch-rows", "1", "--policy", policy)
    with start(*arguments, preexec_fn=listen_to_interrupts) as process:
        process.stdin.write(b'{"text": "moron"}\n')
        process.stdin.flush()
        # The answer comes although the input goes on.
        assert json.loads(process.stdout.readline())["action"] == "block"
        process.stdin.write(b'{"text": "<slow>"}\n')
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_reader_that_goes_away(policy, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "hi"}\n' * 5000)
    for form in ([], ["--json"]):
        with start("score", "--input", str(path), "--policy", policy, *form) as process:
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(timeout=60) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(policy):
    with Path("/dev/full").open("wb") as full:
        status, _, err = run("score", "hi", "--json", "--policy", policy, stdout=full)
    assert status == 2
    assert err == b"error: stdout: cannot be written (No space left on device); the results are incomplete\n"


@pytest.mark.skipif(os.name != "posix", reason="arguments are bytes on POSIX only")
def test_a_text_of_bytes_that_are_not_utf8(policy):
    status, out, err = run("score", b"caf\xe9", "--policy", policy)
    assert (status, out) == (2, b"")
    assert err == b"error: TEXT is not UTF-8; pass it through a file in UTF-8: --input FILE\n"


def test_a_line_of_ten_megabytes_and_one_above_the_limit(policy):
    lines = [
        {"id": "long", "text": "hi " * 330_000, "note": "n" * 10_000_000},
        {"id": "longer", "text": "a" * 1_000_001},
        {"id": "last", "text": "moron"},
    ]
    given = "".join(json.dumps(line) + "\n" for line in lines).encode()
    status, out, err = run("score", "--input", "-", "--json", "--policy", policy, given=given)
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert (status, err.count(b"\n")) == (2, 1)
    assert [(verdict["id"], verdict["action"]) for verdict in verdicts] == [
        ("long", "allow"),
        ("longer", "review"),
        ("last", "block"),
    ]
    assert verdicts[1]["error"]["message"].startswith(
        "line 2: text has 1000001 characters, more than 1000000"
    )


def test_a_terminal_of_ascii_only(policy):
    options = {"env": ENVIRONMENT | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}}
    outcome = subprocess.run(
        [*FAKE, "score", "a moron", "--policy", policy, "--spans"], capture_output=True, **options, check=True
    )
    assert b"#" * 19 in outcome.stdout


def score_with_isa(isa):
    return subprocess.run(
        [sys.executable, "-m", "gooseguard", "score", "hello", "--json"],
        env=ENVIRONMENT | {"GOOSEGUARD_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(bool(extension.problem()), reason="no native extension")
def test_an_unknown_instruction_set_is_an_error():
    outcome = score_with_isa("avx9")
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert "instruction set is 'avx9', which is unknown; expected one of" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.skipif(bool(extension.problem()), reason="no native extension")
def test_an_instruction_set_can_be_forced(monkeypatch):
    monkeypatch.setenv("GOOSEGUARD_ISA", "scalar")
    assert main.load_scorer(None, threads=1, spans=False).isa == "scalar"
