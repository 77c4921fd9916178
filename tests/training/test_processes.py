"""Two processes over gloo learn what one does: the same loss at every step, the same adapter at the end."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from gooseguard.training.processes import Processes, join  # noqa: E402

HERE = Path(__file__).parent


def _load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = _load("tiny_base", HERE.parent / "contracts" / "tiny_base.py")
two = _load("two_processes", HERE / "two_processes.py")


def test_alone_without_a_launcher():
    processes = join()
    assert (processes.rank, processes.count, processes.is_main) == (0, 1, True)
    assert processes.sum(2.5) == 2.5


def test_shares_cover_every_row_once():
    part = np.arange(7)
    shares = [Processes(rank, 3, torch.device("cpu")).share(part) for rank in range(3)]
    assert all(counts for _, counts in shares)
    assert sorted(np.concatenate([own for own, _ in shares])) == list(range(7))


def test_a_process_without_rows_runs_one_that_does_not_count():
    own, counts = Processes(2, 3, torch.device("cpu")).share(np.array([5, 6]))
    assert list(own) == [5]
    assert not counts


def launch(base, folder, method, mode, count=2):
    """Fine-tune in processes of torch's launcher."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    done = subprocess.run(
        [*command, str(HERE / "two_processes.py"), str(base), str(folder), method, mode],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses, validation, processes = json.loads((folder / "losses.json").read_text())
    assert processes == count
    return losses, validation, load_file(folder / "learnt.safetensors")


def unsmoothed(losses):
    """Give each step's loss: a report is 0.98 of the one before and 0.02 of the step."""
    reported = np.array(losses)
    return np.concatenate([reported[:1], (reported[1:] - 0.98 * reported[:-1]) / 0.02])


def check(found, expected):
    """Compare the loss of every step, and the adapter, with those of one process."""
    losses, validation, learnt = found
    np.testing.assert_allclose(unsmoothed(losses), unsmoothed(expected[0]), rtol=1e-4)
    assert [value is None for value in validation] == [value is None for value in expected[1]]
    np.testing.assert_allclose(
        [value for value in validation if value], [value for value in expected[1] if value], rtol=1e-4
    )
    assert learnt.keys() == expected[2].keys()
    for name, tensor in learnt.items():
        # AdamW divides by the gradient's size: where that is next to nothing, the order of a sum decides. A
        # twentieth of one step's learning rate.
        torch.testing.assert_close(tensor, expected[2][name], rtol=1e-3, atol=1e-3)
    assert unsmoothed(losses)[-1] < losses[0]


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path):
    base = tiny.write_base(tmp_path / "base.pth")
    expected = two.run(base, tmp_path / "one")
    assert expected[3]["processes"] == 1
    check(launch(base, tmp_path / "two", "lora", "whole"), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("version", "method"), [("x052", "lora"), ("x060", "state"), ("x070", "lora")])
def test_a_sharded_base_teaches_the_same(tmp_path, version, method):
    """With activation checkpointing as well, as where memory is short."""
    base = tiny.write_base(tmp_path / "base.pth", version)
    expected = two.run(base, tmp_path / "one", method)
    check(launch(base, tmp_path / "two", method, "sharded"), expected)
