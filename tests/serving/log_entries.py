"""Entries for the verdict log; run as a program, it logs as fast as it can until it is killed.

    python log_entries.py DATABASE_URL

Each line of its output names a request whose rows `append` said are kept.
"""

import asyncio
import sys

from gooseguard.core.content import Content
from gooseguard.core.scorer import ScoreError, Scores
from gooseguard.core.verdict import Action, Verdict
from gooseguard.serving.config import LogConfig
from gooseguard.serving.database import open_database
from gooseguard.serving.hooks import LogEntry
from gooseguard.serving.verdict_log import VerdictLog

SCORES = Scores({"toxicity": 0.9, "insult": 0.2}, "m@1")
VERDICT = Verdict(Action.BLOCK, {"toxicity": True, "insult": False}, SCORES, "p@2")
FAILED = ScoreError("ContentError", "…")


def make_entry(request="req_1", **changes):
    facts = {
        "request": request, "place": 0, "api": "score", "key": "k1", "content": Content.from_text("<text>"),
        "outcome": VERDICT, "model": "m@1", "policy": "p@2",
    }  # fmt: skip
    return LogEntry(**facts | changes)


async def log_for_ever(url, n_callers=32):
    log = VerdictLog(open_database(url, flush=False), LogConfig())
    log.start()

    async def call(caller):
        number = 0
        while True:
            request = f"{caller}-{number}"
            await log.append([make_entry(request), make_entry(request, place=1)])
            # One write a line: a line is there whole or not at all.
            sys.stdout.write(request + "\n")
            sys.stdout.flush()
            number += 1

    await asyncio.gather(*map(call, range(n_callers)))


if __name__ == "__main__":
    asyncio.run(log_for_ever(sys.argv[1]))
