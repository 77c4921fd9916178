"""Every exception that Gooseguard raises on purpose, as one tree.

    GooseguardError
    ├── ConfigError     a recipe, an option or a setting is wrong
    ├── PolicyError     a policy is wrong, or does not fit the scorer
    ├── DataError       a source, a dataset or an input row is wrong
    ├── ArtefactError   a checkpoint, an engine file or a dataset is incomplete, altered or of a newer format
    ├── ContentError    one content cannot be judged; the contents beside it can
    ├── EngineError     the engine cannot run what it was asked to
    └── StorageError    a server's database cannot be read or written

A message says what was found, where, what was expected and what to do. It never repeats content.
"""


class GooseguardError(Exception):
    """Base of every error a caller may want to catch."""


class ConfigError(GooseguardError):
    """A recipe, an option or a setting is wrong."""


class PolicyError(GooseguardError):
    """A policy is wrong, or names what the scorer cannot score."""


class DataError(GooseguardError):
    """A source, a dataset or an input row is wrong."""


class ArtefactError(GooseguardError):
    """A checkpoint, an engine file or a dataset is incomplete, altered or of a newer format."""


class ContentError(GooseguardError):
    """One content cannot be judged."""


class EngineError(GooseguardError):
    """The engine cannot run what it was asked to."""


class StorageError(GooseguardError):
    """A server's database cannot be read or written."""

    def __init__(self, message: str, *, is_row_at_fault: bool = False) -> None:
        """Say what could not be done, and whether the rows were to blame, so that others may be taken."""
        super().__init__(message)
        self.is_row_at_fault = is_row_at_fault
