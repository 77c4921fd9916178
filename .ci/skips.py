"""Count what tests skipped and why, from JUnit reports; in CI, fail for any reason that is not allowed.

    python skips.py REPORT.xml …

A test that skips wherever it runs tests nothing. CI has PostgreSQL, Chromium, Node and every extra; missing
may be what a machine cannot have, such as another CPU.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

# What it reads was written by the tests that ran just before.
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CPU = r"not tested: this CPU"
"""Instruction sets."""

DATA = r"beside (?:this|the) checkout|\.\./shared"
"""Published models and texts, which not every checkout has beside it."""


def skips(report: str) -> Iterator[str]:
    """Give the reason of each skipped test of a report."""
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  (as above)
        for skipped in case.iter("skipped"):
            if skipped.get("type") != "pytest.xfail":
                yield skipped.get("message") or "no reason"


def main(reports: Sequence[str], *, has_data: bool, is_ci: bool) -> int:
    """Tell what was skipped; gives the exit status."""
    reasons = Counter(reason for report in reports for reason in skips(report))
    allowed = CPU if has_data else f"{CPU}|{DATA}"
    for reason, count in reasons.most_common():
        sys.stdout.write(f"{count} skipped: {reason}\n")
    n_wrong = sum(count for reason, count in reasons.items() if not re.search(allowed, reason))
    sys.stdout.write(f"{reasons.total()} skipped, {n_wrong} of them for reasons that CI does not allow\n")
    return 1 if n_wrong and is_ci else 0


if __name__ == "__main__":
    is_ci = os.environ.get("CI") == "true"
    sys.exit(main(sys.argv[1:], has_data=Path("../shared").exists(), is_ci=is_ci))
