"""What tests of several folders share: a live server."""

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
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if " serves http" in line:
                break
        assert self.lines, "the server ended without a word"
        assert " serves http" in self.lines[-1], self.lines
        self.url = self.lines[-1].split()[-1]
        self.port = int(self.url.rpartition(":")[2])

    def wait_for(self, words):
        """Read what it says until a line has `words`."""
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return line
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
