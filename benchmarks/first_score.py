"""How soon the first score comes and what the process then holds: Python API, packaged model.

    python benchmarks/first_score.py [--runs 5]

Prints medians over processes: seconds by the clock and of processor time from the first import to the first
score, without the interpreter's own start, and resident memory (Linux). The targets are 0.15 s and 45 MB.
"""

import argparse
import json
import statistics
import subprocess
import sys

PROGRAM = """
import json, time
begin, used = time.perf_counter(), time.process_time()
from gooseguard import Content, load
scorer = load()
scorer.score([Content.from_text("hello")])
seconds, processor = time.perf_counter() - begin, time.process_time() - used
with open("/proc/self/status") as status:
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
print(json.dumps([seconds, processor, resident / 1024, scorer.backend]))
"""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = []
    for _ in range(parser.parse_args().runs):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True)
        runs.append(json.loads(done.stdout))
    clock, processor, resident = (statistics.median(run[column] for run in runs) for column in range(3))
    print(
        f"{runs[0][3]} backend: {clock:.3f} s to the first score ({processor:.3f} s of processor time), "
        f"{resident:.1f} MB resident"
    )


if __name__ == "__main__":
    main()
