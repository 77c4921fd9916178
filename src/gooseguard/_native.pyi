"""The compiled extension: what native/bindings gives Python. Only codec and engine import it.

Absent where no C++ compiler was there at install; `codec/extension.py` tells.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

def describe_build() -> str:
    """Give compiler, version and C++ standard, such as "GCC 12.2.0, C++20"."""

UNICODE_VERSION: str
"""Version of Unicode of the tables: that of the Python it was built for."""

def normalize(text: str) -> tuple[str, list[int], list[int]]:
    """Give the fields of `codec.normalize.Normalized` for a whole text."""

class Normalizer:
    """The twin of `codec.normalize.PythonStream`."""

    def __init__(self) -> None: ...
    def push(self, text: str) -> tuple[str, list[int], list[int]]:
        """Take the next piece of the text; give the fields of what is now certain."""

    def finish(self) -> tuple[str, list[int], list[int]]:
        """Give the rest. The normaliser then begins anew."""

class Tokenizer:
    """The twin of `codec.byte_pairs.PythonEncoder`. Immutable; threads may share one."""

    def __init__(self, merges: Sequence[Sequence[int]]) -> None:
        """Make the vocabulary.

        Raises:
            ArtefactError: a merge is no pair, names an id that does not exist yet, or was there before.
        """

    @property
    def vocab_size(self) -> int:
        """Number of ids, the reserved one included."""

    def tokens(self) -> list[bytes]:
        """Give the bytes of each id."""

    def encode(self, text: str) -> list[int]:
        """Give the ids of a normalised text."""

    def encode_texts(
        self, texts: Sequence[str]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Normalise and encode many texts.

        Gives all ids, int32 (N,); where those of each text begin and end, int64 (n + 1,); and uint8 (n,),
        whether a text has anything but white space once normalised.

        Raises:
            TypeError: an item is no str.
        """

class WorldTokenizer:
    """Greedy longest match over bytes; `codec/world.py` says how. Immutable; threads may share one."""

    def __init__(self, tokens: list[bytes]) -> None:
        """Take the bytes of each id, empty for ids that stand for nothing.

        Raises:
            ArtefactError: a single byte is no token, or a token is there twice or has more than 65,535 bytes.
        """

    def encode(self, data: bytes, *, is_last: bool) -> tuple[list[int], int]:
        """Give ids, and how many bytes they are of: all with `is_last`, else those that are certain."""

    def encode_batch(
        self, texts: Sequence[str | bytes]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Give all ids, int32 (N,), and int64 (n + 1,): where those of each text begin and end.

        A str is taken as UTF-8, a lone surrogate as its three bytes.

        Raises:
            TypeError: an item is neither str nor bytes.
        """
