"""What tests of several folders share: a live server."""

import json
import os
import subprocess
import sys
import tempfile
from types import ModuleType

import pytest

# Tests run side by side, and threads that wait for each other stall: one a process. Read when NumPy and
# torch are imported, so before any test module.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


class LiveServer:
    """`gooseguard serve` as a process of its own, with the packaged model."""

    def __init__(self, *settings, config=None):
        command = [sys.executable, "-m", "gooseguard", "serve", *([str(config)] if config else [])]
        for setting in ("port=0", *settings):
            command += ["--set", setting]
        # Not the database of whoever runs the tests.
        self._state = tempfile.TemporaryDirectory(prefix="gooseguard-")
        environment = {"GOOSEGUARD_DATABASE": f"{self._state.name}/gooseguard.db"} | os.environ
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.lines = []
        self.serving = self.wait_for("serving")
        self.url = self.serving["url"]
        self.port = int(self.url.rpartition(":")[2])

    def wait_for(self, event):
        """Read its log until it tells of an event, and give that line."""
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            # A server that cannot start says why in plain words.
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == event:
                return told
        raise AssertionError(self.lines)

    def stop(self):
        """Tell it to stop; gives the exit status."""
        self.process.terminate()
        status = self.process.wait(30)
        self.process.stderr.close()
        self._state.cleanup()
        return status


# Tests are no package: what they import by name is made importable here.
_module = ModuleType("live")
_module.LiveServer = LiveServer
sys.modules["live"] = _module


@pytest.fixture(scope="session")
def live_server():
    server = LiveServer()
    yield server
    server.stop()
