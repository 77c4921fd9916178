"""The compiled extension: what native/bindings gives Python. Only codec and engine import it.

Absent where no C++ compiler was there at install; `codec/extension.py` tells.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Floats: TypeAlias = npt.NDArray[np.float32]

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

    def encode_text(self, text: str | bytes, /) -> list[int]:
        """Give the ids of a whole text; a str is taken as UTF-8, a lone surrogate as its three bytes."""

    def encode_batch(
        self, texts: Sequence[str | bytes]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Give all ids, int32 (N,), and int64 (n + 1,): where those of each text begin and end.

        A str is taken as UTF-8, a lone surrogate as its three bytes.

        Raises:
            TypeError: an item is neither str nor bytes.
        """

class Heads:
    """The twin of `engine.heads.PythonHeads`. Immutable; threads may share one."""

    def __init__(
        self,
        weight: _Floats,
        bias: _Floats,
        scale: npt.NDArray[np.float64],
        offset: npt.NDArray[np.float64],
    ) -> None:
        """Copy weights (K, F) and biases (K,), and the scale and bias (K,) of the calibration."""
    def scores(self, features: _Floats, added: _Floats) -> npt.NDArray[np.float64]:
        """Give (n, K) of features (n, F) and logits (n, K) to add; NaN where a logit is not finite."""

class NgramTables:
    """The twin of `codec.ngram_tables.PythonTables`. Immutable; threads may share one."""

    def __init__(self, tensors: dict[str, tuple[str, npt.NDArray[np.uint8]]], n_categories: int) -> None:
        """Take the tensors of `ngram_shapes`; their memory is used as long as this lives.

        Raises:
            ArtefactError: pairs are not of tokens of the vocabulary, or not in order, or a size is no size.
        """
    def add(
        self,
        ids: npt.NDArray[np.int32],
        previous: int,
        sums: npt.NDArray[np.int64],
        sketches: npt.NDArray[np.int64],
    ) -> None:
        """Count tokens after `previous`, -1 before the first, into (2, K) and (2, slots), in place."""
    def logits(self, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> _Floats:
        """Give the logits, (n, K), of texts `ids[offsets[i] : offsets[i + 1]]`."""
    def logits_of(self, sums: npt.NDArray[np.int64], sketches: npt.NDArray[np.int64]) -> _Floats:
        """Give the logits, (K,), of what was counted."""

class Pool:
    """One sequence so far; empty at first. Arrays are new ones, flat, float32."""

    def __init__(self) -> None: ...
    @staticmethod
    def of(
        last: _Floats,
        total: npt.NDArray[np.float64],
        maximum: _Floats,
        count: int,
        attention_shift: _Floats,
        wkv: _Floats,
        ffn_shift: _Floats,
    ) -> Pool:
        """Make one of flat arrays, which are copied."""
    def copy(self) -> Pool:
        """Give another with the same content."""
    @property
    def total(self) -> npt.NDArray[np.float64]:
        """(C,): sum of the hidden states."""
    @property
    def last(self) -> _Floats:
        """(C,): hidden state of the last token."""
    @property
    def mean(self) -> _Floats:
        """(C,): mean of the hidden states."""
    @property
    def maximum(self) -> _Floats:
        """(C,): largest hidden state of each channel."""
    @property
    def count(self) -> int:
        """Tokens so far."""
    @property
    def attention_shift(self) -> _Floats:
        """(L * C,): normalised input of the time mix at the last token; empty if no state was kept."""
    @property
    def wkv(self) -> _Floats:
        """(L * H * N * N,): [key index, value index]; empty if no state was kept."""
    @property
    def ffn_shift(self) -> _Floats:
        """(L * C,): normalised input of the channel mix at the last token; empty if no state was kept."""

class Backbone:
    """The engine's backbone; see native/include/gooseguard/engine.h."""

    def __init__(
        self,
        config: dict[str, int | str],
        tensors: dict[str, tuple[str, npt.NDArray[np.uint8]]],
        isa: str = "",
    ) -> None: ...
    def run(
        self,
        tokens: list[npt.NDArray[np.int32]],
        pools: list[Pool],
        keep_state: bool,
        want_hidden: bool,
        threads: int,
    ) -> list[_Floats]:
        """Run sequences, updating `pools`; gives hidden states (T_i, C) if they are wanted."""
    def features(self, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], threads: int) -> _Floats:
        """Give last, mean and maximum, (n, 3 C), of texts `ids[offsets[i] : offsets[i + 1]]`."""
    def logits(self, hidden: _Floats) -> _Floats:
        """Give (T, V) for hidden states (T, C)."""
    @property
    def isa(self) -> str:
        """Instruction set in use."""

class TextScorer:
    """A text model from end to end; see native/include/gooseguard/text_scorer.h."""

    def __init__(
        self, tokenizer: Tokenizer, backbone: Backbone, ngrams: NgramTables | None, heads: Heads
    ) -> None: ...
    def score(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        """Give scores (n, K), NaN where a logit is not finite, and whether each text shows anything, (n,).

        Raises:
            TypeError: an item is no str.
            EngineError: the parts are of different models.
        """

def isa_names() -> list[str]:
    """Give the instruction sets of this build, best first."""

def has_isa(name: str) -> bool:
    """Tell whether this CPU has one of them."""
