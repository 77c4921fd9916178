"""A real PostgreSQL in a temporary folder, for the tests that need one."""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path


def find_program(name):
    """Give a program of PostgreSQL: Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


class Postgres:
    """A PostgreSQL server in a temporary folder, on a free port of the loopback."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self._as = {"user": self._user} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(folder, self._user)
        self._run("initdb", "--auth=trust", "--username=gooseguard", "--no-sync", "--encoding=UTF8")

    def _run(self, program, *options):
        subprocess.run(
            [find_program(program), "--pgdata", str(self.folder / "data"), *options],
            check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=60, **self._as,
        )  # fmt: skip

    def start(self):
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run("pg_ctl", "start", "--wait", "--log", str(self.folder / "log"), "--options", settings)

    def stop(self, mode="fast"):
        self._run("pg_ctl", "stop", "--wait", "--mode", mode)

    def url(self, name="postgres"):
        return f"postgresql://gooseguard@127.0.0.1:{self.port}/{name}"

    def new_database(self, name):
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)
