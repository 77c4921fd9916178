"""The compiled extension: what native/bindings gives Python. Only codec and engine import it.

Absent where no C++ compiler was there at install; `codec/extension.py` tells.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

def describe_build() -> str:
    """Give compiler, version and C++ standard, such as "GCC 12.2.0, C++20"."""

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
