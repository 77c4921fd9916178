"""Results to standard output, or to a file that is whole or not there. Knows nothing of what is written."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from gooseguard.core.errors import ConfigError, DataError
from gooseguard.core.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE: what a shell shows for a program whose reader went away."""


class Output:
    """Where results go; text is written as it is."""

    def __init__(self, stream: TextIO, name: str) -> None:
        """Take an open stream and what errors call it."""
        self._stream = stream
        self._name = name

    @property
    def is_terminal(self) -> bool:
        """Tell whether a person reads it directly."""
        return self._stream.isatty()

    def write(self, text: str) -> None:
        """Write text and hand it on at once.

        Raises:
            DataError: the disk is full, or the like.
            typer.Exit: nobody reads any more.
        """
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            silence_stdout()
            raise typer.Exit(EXIT_BROKEN_PIPE) from None
        except OSError as error:
            if self._stream is sys.stdout:
                silence_stdout()
            raise DataError(
                f"{self._name}: cannot be written ({error.strerror}); the results are incomplete"
            ) from None

    def write_json(self, value: Any) -> None:  # noqa: ANN401  (any JSON-ready value)
        """Write one line of JSON, in ASCII, so that no terminal or locale can break it."""
        self.write(json_line(value))


def json_line(value: Any) -> str:  # noqa: ANN401  (any JSON-ready value)
    """Give a value as one line of ASCII JSON, its end included."""
    return json.dumps(value, allow_nan=False) + "\n"


def silence_stdout() -> None:
    """Send what is left in standard output nowhere: else the interpreter complains about it at its end."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(descriptor, sys.stdout.fileno())
    finally:
        os.close(descriptor)


@contextmanager
def open_output(path: Path | None) -> Iterator[Output]:
    """Open standard output, or a file that appears when the block ends without an exception.

    Raises:
        ConfigError: the file cannot be written there, or standard output is closed.
    """
    if path is None:
        if sys.stdout is None:
            raise ConfigError("stdout is closed; pass --output FILE")
        yield Output(sys.stdout, "stdout")
        return
    if path.is_dir():
        raise ConfigError(f"--output {path} is a directory; expected a file name")
    with replacing(path) as partial:
        try:
            stream = partial.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise ConfigError(
                f"--output {path}: cannot be written ({error.strerror}); expected a folder that is there"
            ) from None
        with stream:
            yield Output(stream, str(path))


def write_made(made: Mapping[str, Path], *, is_json: bool) -> None:
    """Write to standard output what a run made, and where, as lines or as one line of JSON."""
    with open_output(None) as results:
        if is_json:
            results.write_json({name: str(path) for name, path in made.items()})
        else:
            results.write("".join(f"{name}: {path}\n" for name, path in made.items()))
