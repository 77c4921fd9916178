"""`data build` where things go wrong: killed at any moment, no room on the disk, sources that are damaged."""

import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from gooseguard.core.errors import DataError
from gooseguard.data.executor import SerialExecutor
from gooseguard.data.pipeline import build_dataset
from gooseguard.data.recipe import DataRecipe
from gooseguard.data.shards import read_dataset_manifest
from gooseguard.data.sources.source import OnFault, SourceConfig

HERE = Path(__file__).parent


def _load(path):
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}_parts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parts = _load(HERE.parent / "data" / "test_pipeline.py")
media = _load(HERE.parent / "data" / "sources" / "test_media_files.py")

# --- Killed.


@pytest.mark.parametrize("every", [37, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_before_any_write_it_leaves_nothing_half_done_and_goes_on_to_the_same_bytes(tmp_path, every):
    done = subprocess.run(
        [sys.executable, str(HERE / "build_events.py"), str(tmp_path), str(every)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["n_writes"] > 60
    kills = found["kills"]
    assert len(kills) == len(range(1, found["n_writes"] + 1, every))
    assert all(is_same for _, _, is_same in kills), kills
    # Once the dataset is there, only the work folder is left to remove.
    was_there = [there for _, there, _ in kills]
    assert was_there == sorted(was_there)


BUILD = """
import json, resource, sys
from pathlib import Path
from gooseguard.core.errors import GooseguardError
from gooseguard.data import batches
from gooseguard.data.executor import LocalExecutor, SerialExecutor
from gooseguard.data.pipeline import build_dataset
from gooseguard.data.recipe import DataRecipe
from gooseguard.data.sources.source import SourceConfig

def main():
    path, mapping, output, workers, limit = sys.argv[1:]
    batches.BATCH_ROWS = 100
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    recipe = DataRecipe("mine", (SourceConfig("json_lines", path, mapping=mapping),))
    try:
        build_dataset(recipe, Path(output), LocalExecutor(int(workers)) if int(workers) else SerialExecutor())
    except GooseguardError as error:
        print(f"{type(error).__name__}: {error}")

if __name__ == "__main__":
    main()
"""


class Builds:
    """Starts builds of one source, in batches of 100 rows, as processes of their own."""

    def __init__(self, folder, n_rows):
        self.folder = folder
        texts = parts.make_texts(n_rows)
        self.source = parts.write_source(folder / "in", "first", [(text, 1) for text in texts])
        (folder / "build.py").write_text(BUILD, "utf-8")

    def start(self, output, workers=2, limit=0):
        return subprocess.Popen(
            [
                sys.executable, str(self.folder / "build.py"), self.source.path, self.source.mapping,
                str(output), str(workers), str(limit),
            ],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, output, workers=2, limit=0):
        """Give what it said; empty where the dataset was built."""
        process = self.start(output, workers, limit)
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 0
        return said


@pytest.fixture
def builds(tmp_path):
    return Builds(tmp_path, 4000)


def processes_below(process):
    """Give the ids of all processes that a process started, and those started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found = {process}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {process}


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at under /proc")
def test_killed_with_its_workers_at_work_it_leaves_no_process_and_goes_on(builds, tmp_path):
    assert builds.run(tmp_path / "whole") == ""
    expected = parts.bytes_of(tmp_path / "whole")
    output, work = tmp_path / "set", tmp_path / ".set.work"
    moments = {
        "first batches": lambda: len(list((work / "prepared").glob("0000??"))) >= 2,
        "writing": (work / "plan").exists,
    }
    for name, is_moment in moments.items():
        process = builds.start(output)
        wait_until(is_moment)
        below = processes_below(process.pid)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, name
        assert not output.exists(), name
        wait_until(lambda: not any(map(is_running, below)), 20)  # noqa: B023  (called at once)
    assert builds.run(output) == ""
    assert parts.bytes_of(output) == expected
    assert not list(tmp_path.glob(".set*"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at under /proc")
def test_a_worker_that_is_killed_is_told_and_the_build_goes_on_when_run_again(builds, tmp_path):
    assert builds.run(tmp_path / "whole") == ""
    output, work = tmp_path / "set", tmp_path / ".set.work"
    process = builds.start(output)
    wait_until(lambda: len(list((work / "prepared").glob("0000??"))) >= 4)
    # Workers have no children; the server that forks them has.
    workers = [pid for pid in processes_below(process.pid) if not processes_below(pid)]
    busiest = max(
        workers, key=lambda pid: int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11])
    )
    os.kill(busiest, signal.SIGKILL)
    said = process.communicate(timeout=120)[0]
    assert said.startswith("DataError: a worker process ended without a word"), said
    assert not output.exists()
    assert builds.run(output) == ""
    assert parts.bytes_of(output) == parts.bytes_of(tmp_path / "whole")


@pytest.mark.slow
def test_two_builds_of_one_dataset_at_once_are_refused(builds, tmp_path):
    output, work = tmp_path / "set", tmp_path / ".set.work"
    process = builds.start(output)
    wait_until(lambda: len(list((work / "prepared").glob("0000??"))) >= 1)
    said = builds.run(output, workers=0)
    assert said.startswith("ConfigError: ")
    assert "is being built by another process" in said
    assert process.communicate(timeout=120)[0] == ""
    assert len(parts.rows_of(output)) == 4000


# --- No room on the disk.


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_is_told_wherever_it_is_met_and_the_build_goes_on_when_there_is_room(tmp_path, workers):
    """No file may grow beyond a limit: the kernel refuses the write, as it does where there is no room."""
    builds, output = Builds(tmp_path, 4000 if workers else 600), tmp_path / "set"
    for limit in (60, 20_000) if workers else (5_000,):
        said = builds.run(output, workers, limit)
        assert said.startswith("ArtefactError: dataset "), (limit, said)
        assert "cannot be written (File too large)" in said, (limit, said)
        assert "make room, or mend that, and run the same command again: it goes on from .set.work" in said
        assert not output.exists()
    assert builds.run(output, workers) == ""
    assert builds.run(tmp_path / "whole", workers) == ""
    assert parts.bytes_of(output) == parts.bytes_of(tmp_path / "whole")


# --- Sources that are damaged.

MAPPING = """
name = "mine"
title = "M"
licence = "x"
citation = "x"
meaning = "x"
[columns]
text = "text"
[[labels]]
field = "{field}"
category = "{category}"
values = {values}
"""
CANARY = "zanzibar"
"""Stands in every text, and in no error."""


def cut_gzip(folder):
    # Bytes that do not compress, so that cutting the file cuts rows.
    rows = "".join(f"{os.urandom(20).hex()} {CANARY} {number},1\n" for number in range(3000))
    (folder / "a.csv.gz").write_bytes(gzip.compress(("text,rude\n" + rows).encode())[:-3000])


def mixed_encodings(folder):
    rows = [
        f"caf\xe9 {CANARY} one,1\n".encode(),
        f"caf\xe9 {CANARY} two,0\n".encode("latin-1"),
        b"three three,1\n",
    ]
    (folder / "a.csv").write_bytes(b"text,rude\n" + b"".join(rows))


def newline_in_quotes(folder):
    (folder / "a.csv").write_text(
        f'text,rude\n"one\n{CANARY}",1\ntwo {CANARY},9\n"three\nthree",0\n', "utf-8"
    )


def changed_schema(folder):
    for number, kind in enumerate((pa.int64(), pa.string())):
        table = pa.table({"text": [f"{CANARY} row {number}"], "rude": pa.array([1]).cast(kind)})
        pq.write_table(table, folder / f"train-{number}.parquet")


def unreadable_image(folder):
    for name, data in (("yes/1.png", media.picture()), ("no/2.png", media.picture()[:-30])):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(data)


def zero_length_video(folder):
    for name, data in (("yes/1.mp4", media.mp4(1000)), ("no/2.mp4", media.mp4(0)), ("no/3.mp4", b"")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("reader", "write", "place", "faults", "n_rows"),
    [
        ("csv", cut_gzip, r"a\.csv\.gz, after row \d{3,4}: the file is damaged or", {"a.csv.gz": 1}, None),
        ("csv", mixed_encodings, r"a\.csv, row 2, column 'text': is not UTF-8", {"a.csv": 1}, 2),
        # Rows are counted, not lines: the one that is wrong is in line 4.
        ("csv", newline_in_quotes, r"a\.csv, row 2: field 'rude': unknown class '9'", {"a.csv": 1}, 2),
        (
            "parquet", changed_schema, r"train-1\.parquet, from row 1: column 'rude' is string",
            {"train-1.parquet": 1}, 1,
        ),
        ("media_folder", unreadable_image, r"no/2\.png: ", {"no/2.png": 1}, 1),
        (
            "media_folder", zero_length_video, r"no/2\.mp4: is a video of zero length",
            {"no/2.mp4": 1, "no/3.mp4": 1}, 1,
        ),
    ],
)  # fmt: skip
def test_a_damaged_source_stops_or_is_skipped_and_file_and_row_are_named(
    tmp_path, reader, write, place, faults, n_rows
):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder)
    is_media = reader == "media_folder"
    (tmp_path / "m.toml").write_text(
        MAPPING.format(
            field="class" if is_media else "rude",
            category="violence" if is_media else "insult",
            values="{ yes = 1, no = 0 }" if is_media else "{ 1 = 1, 0 = 0 }",
        ),
        "utf-8",
    )

    def recipe(on_fault):
        source = SourceConfig(reader, str(folder), mapping=str(tmp_path / "m.toml"), on_fault=on_fault)
        return DataRecipe("mine", (source,))

    with pytest.raises(DataError, match=place) as caught:
        build_dataset(recipe(OnFault.STOP), tmp_path / "set", SerialExecutor())
    assert CANARY not in str(caught.value)
    assert not (tmp_path / "set").exists()
    made = build_dataset(recipe(OnFault.SKIP), tmp_path / "set", SerialExecutor(), restart=True)
    facts = read_dataset_manifest(made).facts
    assert facts["skipped"]["mine"]["faults"] == faults
    shown = facts["skipped"]["mine"]["shown"]
    assert len(shown) == len(faults)
    n_kept = len(parts.rows_of(made))
    assert n_kept == n_rows if n_rows else 500 < n_kept < 3000
    card = (made / "card.md").read_text("utf-8")
    assert all(file in card for file in faults)
    assert CANARY not in json.dumps(facts) + card
