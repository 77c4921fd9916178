"""RWKV of all versions in the compiled engine: token ids to what a head reads, on all cores, without torch.

Gives what `reference.forward` gives, up to the rounding of the dtype its weights are stored as; a sequence
gives the same to the last bit in whatever company, cut into whatever pieces, on however many threads.
Matrices are read where they lie. Knows no text and no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gooseguard import _native
from gooseguard.codec.stored_tensor import bytes_of
from gooseguard.codec.text_model import BACKBONE_PREFIX
from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.engine.pooled import PooledState, from_arrays, to_arrays
from gooseguard.engine.reference import State, check_tokens
from gooseguard.engine.stored import lay_out_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gooseguard.codec.layout import RwkvConfig
    from gooseguard.codec.ngram_head import NgramHead
    from gooseguard.codec.stored_tensor import StoredTensor
    from gooseguard.codec.tokenizer import Tokenizer
    from gooseguard.engine.heads import Heads

Pool = _native.Pool
"""One sequence so far: what a head reads of its hidden states, and what the next piece goes on from."""


def instruction_sets() -> dict[str, bool]:
    """Give the instruction sets this build knows, best first, and whether this CPU has them."""
    return {name: _native.has_isa(name) for name in _native.isa_names()}


class NativeBackbone:
    """A backbone ready to run. Safe to call from several threads at once."""

    def __init__(
        self,
        config: RwkvConfig,
        stored: Mapping[str, StoredTensor],
        *,
        threads: int = 1,
        isa: str | None = None,
    ) -> None:
        """Take tensors as they lie in an engine file; their memory is used as long as the backbone lives.

        Args:
            config: every size of the model.
            stored: by official name, with or without "backbone." before it; others may be there too.
            threads: units worked on at once.
            isa: instruction set, one of `instruction_sets()`; `None` for the best there is.

        Raises:
            ConfigError: `threads` is below 1, or `isa` is unknown or not of this CPU.
            EngineError: a tensor is missing or of another size.
        """
        if threads < 1:
            raise ConfigError(f"native engine: threads is {threads}, expected at least 1")
        known = instruction_sets()
        if isa is not None and not known.get(isa, False):
            there = ", ".join(name for name, is_there in known.items() if is_there)
            problem = "which this CPU lacks" if isa in known else "which is unknown"
            raise ConfigError(
                f"native engine: instruction set is {isa!r}, {problem}; expected one of {there}"
            )
        tensors = {
            name.removeprefix(BACKBONE_PREFIX): (tensor.dtype, bytes_of(tensor.data))
            for name, tensor in stored.items()
        }
        self.config = config
        self._threads = threads
        self._backbone = _native.Backbone(config.to_json(), tensors, isa or "")

    @classmethod
    def from_tensors(
        cls,
        config: RwkvConfig,
        tensors: Mapping[str, npt.NDArray[np.generic]],
        dtype: str = "f32",
        *,
        threads: int = 1,
        isa: str | None = None,
    ) -> NativeBackbone:
        """Lay out float32 tensors as an engine file of `dtype` has them; a language head may be there."""
        return cls(config, lay_out_all(tensors, dtype), threads=threads, isa=isa)

    @property
    def isa(self) -> str:
        """Give the instruction set in use."""
        return self._backbone.isa

    def run(
        self, sequences: Sequence[npt.ArrayLike], pools: Sequence[Pool | None] | None = None
    ) -> list[tuple[npt.NDArray[np.float32], Pool]]:
        """Give the hidden states of every token, float32 (T_i, C), and the sequence afterwards.

        Args:
            sequences: integer token ids, (T_i,) each; T_i may be 0.
            pools: what an earlier call gave for the tokens before; `None` is the start. Not written to.

        Raises:
            EngineError: a sequence or a pool does not fit the config.
        """
        ids, after = self._checked(sequences, pools)
        hidden = self._backbone.run(ids, after, keep_state=True, want_hidden=True, threads=self._threads)
        return list(zip(hidden, after, strict=True))

    def pool(
        self,
        sequences: Sequence[npt.ArrayLike],
        before: Sequence[Pool | None] | None = None,
        *,
        keep_state: bool = True,
    ) -> list[Pool]:
        """Give what a head reads of each sequence, at memory constant in its length.

        Args:
            sequences: integer token ids, (T_i,) each; T_i may be 0.
            before: what an earlier call gave for the tokens before; `None` is the start. Not written to.
            keep_state: whether a further piece may follow. Without, states take no memory.

        Raises:
            EngineError: a sequence or a pool does not fit the config, or the earlier call kept no state.
        """
        ids, after = self._checked(sequences, before)
        self._backbone.run(ids, after, keep_state=keep_state, want_hidden=False, threads=self._threads)
        return after

    def features(self, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Give what a head reads of whole texts: last, mean and maximum, float32 (n, 3 C).

        Args:
            ids: int32, (N,): token ids of all texts.
            offsets: int64, (n + 1,): text i has `ids[offsets[i] : offsets[i + 1]]`; none give zeros.

        Raises:
            EngineError: an id is outside the vocabulary, or offsets do not fit `ids`.
        """
        return self._backbone.features(ids, offsets, self._threads)

    def join(self, tokenizer: Tokenizer, ngrams: NgramHead | None, heads: Heads) -> _native.TextScorer:
        """Give what reads texts from end to end in one call, on one thread; all parts are the extension's."""
        # Each is a twin of a Python class, and made by the extension since that is there.
        tables: Any = None if ngrams is None else ngrams.tables
        encoder: Any = tokenizer.encoder
        native_heads: Any = heads
        return _native.TextScorer(encoder, self._backbone, tables, native_heads)

    def state_of(self, pool: Pool) -> State:
        """Give the recurrent state of a pool, B = 1, as new arrays.

        Raises:
            EngineError: the pool kept none.
        """
        L, C, H, N = self.config.n_layer, self.config.n_embd, self.config.n_head, self.config.head_size
        if pool.wkv.size != L * H * N * N:
            raise EngineError("pool: it kept no state; pool it with keep_state=True")
        return State(
            attention_shift=pool.attention_shift.reshape(L, 1, C),
            wkv=np.ascontiguousarray(pool.wkv.reshape(L, 1, H, N, N).swapaxes(-1, -2)),
            ffn_shift=pool.ffn_shift.reshape(L, 1, C),
        )

    def pack(self, pool: Pool) -> dict[str, npt.NDArray[Any]]:
        """Give a sequence as arrays, those that `PortableBackbone.pack` gives, for either's `unpack`.

        Raises:
            EngineError: it was pooled with keep_state=False.
        """
        return to_arrays(
            PooledState(pool.last, pool.total, pool.maximum, pool.count, state=self.state_of(pool))
        )

    def unpack(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Pool:
        """Give the sequence that `pack` gave as arrays.

        Raises:
            EngineError: the arrays are not those of a sequence of this config.
        """
        pool = from_arrays(self.config, arrays)
        # `from_arrays` gives none without.
        assert pool.state is not None
        return Pool.of(
            pool.last,
            pool.total,
            pool.maximum,
            pool.count,
            pool.state.attention_shift.reshape(-1),
            np.ascontiguousarray(pool.state.wkv.swapaxes(-1, -2)).reshape(-1),
            pool.state.ffn_shift.reshape(-1),
        )

    def logits(self, hidden: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Give the language head's logits, float32 (T, V), for hidden states (T, C).

        Raises:
            EngineError: the model has no language head, or `hidden` is of another width.
        """
        if hidden.ndim != 2 or hidden.shape[1] != self.config.n_embd:
            raise EngineError(f"logits: hidden states are {hidden.shape}, expected (T, {self.config.n_embd})")
        return self._backbone.logits(np.ascontiguousarray(hidden, dtype=np.float32))

    def _checked(
        self, sequences: Sequence[npt.ArrayLike], pools: Sequence[Pool | None] | None
    ) -> tuple[list[npt.NDArray[np.int32]], list[Pool]]:
        """Check what was handed over; pools are copied."""
        ids = [
            np.ascontiguousarray(check_tokens(self.config, tokens, 1), dtype=np.int32) for tokens in sequences
        ]
        before = [None] * len(ids) if pools is None else list(pools)
        return ids, [Pool() if pool is None else pool.copy() for pool in before]
