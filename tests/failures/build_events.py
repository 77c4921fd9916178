"""A program that builds one dataset again and again, killed with SIGKILL before another write each time.

    python build_events.py FOLDER EVERY

Writes to the file system that Python audits (files opened to write, renames, removals, folders made) are
numbered; a child process kills itself before number 1, 1 + EVERY, … and another child builds on. Prints, as
JSON, how many writes there are, and of each kill: its number, whether a dataset was there after it, and
whether the resumed build has the bytes of one that was never killed.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import test_pipeline as parts
from PIL import Image

from gooseguard.data.executor import SerialExecutor
from gooseguard.data.pipeline import build_dataset
from gooseguard.data.recipe import DataRecipe, PlanConfig
from gooseguard.data.sources.source import SourceConfig

WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


def make_recipe(folder):
    texts = parts.make_texts(90)
    rows = [(text, row % 2) for row, text in enumerate(texts)]
    rows += [(text.upper(), 1) for text in texts[:5]] + [(text + " x", 0) for text in texts[5:10]]
    text = parts.write_source(folder / "in", "first", rows)
    for number, colour in enumerate(("red", "green", "blue")):
        path = folder / "images" / "1" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), colour).save(path)
    mapping = parts.MAPPING.format(name="pictures").replace('field = "rude"', 'field = "class"')
    (folder / "pictures.toml").write_text(mapping, "utf-8")
    images = SourceConfig("media_folder", str(folder / "images"), mapping=str(folder / "pictures.toml"))
    return DataRecipe("mine", (text, images), plans=(PlanConfig("few", cap=20),), shard_rows=40)


def digests(folder):
    return {name: hashlib.sha256(data).hexdigest() for name, data in parts.bytes_of(folder).items()}


def in_child(work):
    """Run `work` in a child of this process, which has no threads; give how it ended."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def build(recipe, output, killed_before=0, counted=None):
    n_writes = 0

    def on_event(event, arguments):
        nonlocal n_writes
        if event == "open":
            mode, flags = arguments[1:]
            is_write = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR)) or any(c in (mode or "") for c in "wxa")
        else:
            is_write = event in WRITES
        n_writes += is_write
        if is_write and n_writes == killed_before:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)
    build_dataset(recipe, output, SerialExecutor())
    if counted is not None:
        counted.write_text(str(n_writes))


def main(folder, every):
    parts.batches.BATCH_ROWS = 40
    recipe = make_recipe(folder)
    found = folder / "digests.json"
    in_child(lambda: build(recipe, folder / "whole", counted=folder / "n_writes"))
    in_child(lambda: found.write_text(json.dumps(digests(folder / "whole"))))
    expected, n_writes = json.loads(found.read_text()), int((folder / "n_writes").read_text())
    kills = []
    for number in range(1, n_writes + 1, every):
        output = folder / f"set-{number}"
        ended = in_child(lambda: build(recipe, output, number))  # noqa: B023  (called at once)
        assert ended == -signal.SIGKILL, ended
        was_there = output.exists()
        if not was_there:
            assert in_child(lambda: build(recipe, output)) == 0  # noqa: B023  (called at once)
        in_child(lambda: found.write_text(json.dumps(digests(output))))  # noqa: B023  (called at once)
        kills.append((number, was_there, json.loads(found.read_text()) == expected))
    sys.stdout.write(json.dumps({"n_writes": n_writes, "kills": kills}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
