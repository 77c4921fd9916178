"""Fine-tune in as many processes as torch's launcher starts; run by test_processes.py through torchrun.

Writes what was reported, and what was learnt, as the main process saw it.
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from gooseguard.models.official import load_official
from gooseguard.training.answer_loop import Precision, TuneConfig, TuneSet, tune
from gooseguard.training.answers import encode_rows
from gooseguard.training.fine_tune import FineTuneConfig, Method, learnt_tensors, make_loss
from gooseguard.training.processes import join, leave, shard_base
from gooseguard.training.resume import ResumePoints

_spec = importlib.util.spec_from_file_location(
    "tiny_base", Path(__file__).parents[1] / "contracts" / "tiny_base.py"
)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def make_rows(n):
    """Give rows whose answer depends on their content."""
    from gooseguard.data.instructions import Conversation, Turn

    words = ["<slur> you", "have a nice day", "moron", "good morning to all of you", "go away", "thanks"]
    rows = []
    for i in range(n):
        word = words[i % len(words)]
        answer = "Yes." if i % 2 == 0 else "No."
        rows.append(Conversation(str(i), (Turn("Rude?", f"{word} {i}", answer),), "chat"))
    return encode_rows(rows, tiny.Bytes(), 200)


def run(base, folder, method="lora", *, is_sharded=False, is_checkpointed=False, epochs=2.0, part_tokens=256):
    """Fine-tune; gives the losses of all steps, and what was learnt, in the main process."""
    torch.set_num_threads(1)
    processes = join()
    loop = TuneConfig(
        epochs=epochs,
        learning_rate=2e-2,
        warmup=2,
        step_rows=6,
        part_tokens=part_tokens,
        precision=Precision.F32,
        is_checkpointed=is_checkpointed,
        is_sharded=is_sharded,
        resume_s=0.0,
        validate_steps=4,
    )
    config = FineTuneConfig("tiny", str(base), "none", method=Method(method), loop=loop)
    loss = make_loss(load_official(base, dtype=torch.float32), config)
    if is_sharded and processes.count > 1:
        shard_base(loss, loss.model, processes)
    reports = []
    data = TuneSet(make_rows(20), make_rows(7))
    facts = tune(loss, data, loop, ResumePoints(Path(folder), "same"), reports.append, processes)
    learnt = {name: tensor.detach().clone() for name, tensor in learnt_tensors(loss).items()}
    is_main = processes.is_main
    leave(processes)
    return (
        [report.loss for report in reports],
        [report.validation_loss for report in reports],
        learnt,
        facts,
        is_main,
    )


if __name__ == "__main__":
    base, folder, method, mode = sys.argv[1:]
    losses, validation, learnt, facts, is_main = run(
        base, folder, method, is_sharded=mode == "sharded", is_checkpointed=mode == "sharded"
    )
    if is_main:
        save_file(learnt, Path(folder) / "learnt.safetensors")
        (Path(folder) / "losses.json").write_text(json.dumps([losses, validation, facts["processes"]]))
