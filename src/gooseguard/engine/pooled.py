"""One sequence so far: what a head reads of it and what it goes on from, as an object and as plain arrays.

The arrays are the same whichever engine made them, so that either reads what the other kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gooseguard.core.errors import EngineError
from gooseguard.engine.reference import State, zero_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gooseguard.codec.layout import RwkvConfig


@dataclass(frozen=True, slots=True)
class PooledState:
    """One sequence so far: what a head reads of its hidden states, and what the next piece goes on from."""

    last: npt.NDArray[np.float32]
    """(C,): hidden state of the last token; zeros before the first."""
    total: npt.NDArray[np.float64]
    """(C,): sum of the hidden states; float64, so that many small pieces add up to one large one."""
    maximum: npt.NDArray[np.float32]
    """(C,): largest hidden state of each channel; zeros before the first token."""
    count: int
    """Tokens so far."""
    state: State | None
    """Recurrent state, B = 1; `None` if it was not asked for, or before the first token."""

    @property
    def mean(self) -> npt.NDArray[np.float32]:
        """Give the mean of the hidden states, float32 (C,); zeros before the first token."""
        return np.asarray(self.total / max(self.count, 1), dtype=np.float32)


def empty_pool(config: RwkvConfig) -> PooledState:
    """Give what is known of a sequence before its first token."""
    zeros = np.zeros(config.n_embd, np.float32)
    return PooledState(last=zeros, total=zeros.astype(np.float64), maximum=zeros, count=0, state=None)


def to_arrays(pool: PooledState) -> dict[str, npt.NDArray[Any]]:
    """Give a sequence as arrays, for `from_arrays`; some are the pool's own.

    Raises:
        EngineError: it was pooled with keep_state=False.
    """
    if pool.state is None:
        raise EngineError("pack: the sequence kept no state; pool it with keep_state=True")
    return {
        "last": pool.last,
        "total": pool.total,
        "maximum": pool.maximum,
        "count": np.array([pool.count], np.int64),
        "attention_shift": pool.state.attention_shift,
        "wkv": pool.state.wkv,
        "ffn_shift": pool.state.ffn_shift,
    }


def from_arrays(config: RwkvConfig, arrays: Mapping[str, npt.NDArray[Any]]) -> PooledState:
    """Give the sequence that `to_arrays` gave as arrays; they are not copied.

    Raises:
        EngineError: the arrays are not those of a sequence of `config`.
    """
    like = to_arrays(replace(empty_pool(config), state=zero_state(config, 1)))
    if _kinds(arrays) != _kinds(like) or arrays["count"][0] < 0:
        raise EngineError("unpack: these arrays are not of this model's states")
    state = State(arrays["attention_shift"], arrays["wkv"], arrays["ffn_shift"])
    return PooledState(arrays["last"], arrays["total"], arrays["maximum"], int(arrays["count"][0]), state)


def _kinds(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (array.dtype.str[1:], array.shape) for name, array in arrays.items()}
