"""What the machine says of itself: its processor, the memory of this process, and the energy it used.

Everything is read from the kernel's files and is `None` where there are none: nothing is estimated.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

POWERCAP = Path("/sys/class/powercap")
"""Where Linux reports energy. Source: Linux, `Documentation/power/powercap/powercap.rst`."""

MICROJOULES = 1e6
"""In a joule."""


def describe_cpu(path: Path = Path("/proc/cpuinfo")) -> str:
    """Give the processor in words, such as "2 x AMD EPYC (family 26)"."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name") or platform.processor() or platform.machine()
    family = f" (family {facts['cpu family']})" if "cpu family" in facts else ""
    return f"{os.cpu_count()} x {name}{family}"


def read_memory(path: Path = Path("/proc/self/status")) -> int | None:
    """Give the resident memory of this process in bytes, files mapped into it included."""
    try:
        lines = path.read_text("ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


class EnergyMeter:
    """The energy counters of the processor packages (RAPL), where they may be read.

    They count for the whole machine, and wrap around; more than one wrap between two readings is not noticed.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        """Find the counters of whole packages below `folder`; their subdomains are part of them."""
        self._ranges = {}
        for zone in sorted(folder.glob("*:*")):
            wrap = _read_number(zone / "max_energy_range_uj")
            if zone.name.count(":") == 1 and wrap is not None and _is_package(zone):
                self._ranges[zone] = wrap

    def read(self) -> Mapping[Path, int] | None:
        """Give each counter in microjoules; `None` where there is none, or one may not be read."""
        counts = {zone: _read_number(zone / "energy_uj") for zone in self._ranges}
        known = {zone: count for zone, count in counts.items() if count is not None}
        return known if known and len(known) == len(counts) else None

    def since(self, before: Mapping[Path, int] | None) -> float | None:
        """Give the joules used since a reading; `None` where that cannot be told."""
        now = self.read()
        if before is None or now is None:
            return None
        used = [(now[zone] - before[zone]) % (self._ranges[zone] + 1) for zone in now]
        return sum(used) / MICROJOULES


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text("ascii").startswith("package")
    except OSError:
        return False


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
