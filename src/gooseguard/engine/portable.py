"""RWKV of all versions in fast NumPy: what scores where the compiled extension is not installed.

Turns many ragged token sequences into hidden states, or into what a head reads of them (last, mean and
maximum over time), with the recurrent state. Gives what `reference.forward` gives, up to float rounding
(about 1e-5 of hidden states of size 1); so do pieces of a text handed over one after another, and so does a
text in other company. `pool` takes memory constant in the length of a text.

Letters as in `reference`; T counts the tokens of all sequences of a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gooseguard.codec.layout import LAYER_NORM_EPSILON, RwkvConfig, check_shapes
from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.engine import earlier
from gooseguard.engine.blas import SINGLE_THREADED_BLAS
from gooseguard.engine.blocks import (
    Layer,
    Norm,
    Tensors,
    Unit,
    channel_mix,
    normalise,
    shift_difference,
    time_mix,
)
from gooseguard.engine.earlier import EarlierLayer
from gooseguard.engine.packing import Layout, cut_units
from gooseguard.engine.pooled import PooledState, empty_pool, from_arrays, to_arrays
from gooseguard.engine.reference import State, check_state, check_tokens, zero_state
from gooseguard.engine.scratch import Float32Array, Scratch
from gooseguard.engine.threads import run_jobs

UNIT_TOKENS = 384
"""Tokens of a unit: enough for matrix products to run at speed, few enough for the cache."""


@dataclass(slots=True)
class _Memory:
    """The recurrent state of a unit's sequences, in the working order of the WKV."""

    attention_shift: Float32Array
    """(L, sequences, C)."""
    wkv: Float32Array
    """(L, sequences, H, N, N), [key index, value index]; (1, …) where no state is kept."""
    ffn_shift: Float32Array
    """(L, sequences, C)."""
    is_fresh: bool
    """Whether nothing was read yet; `wkv` may then hold anything."""

    def state_of(self, sequence: int) -> State:
        """Copy out the state of one sequence."""
        own = slice(sequence, sequence + 1)
        return State(
            attention_shift=self.attention_shift[:, own].copy(),
            wkv=np.ascontiguousarray(self.wkv[:, own].swapaxes(-1, -2)),
            ffn_shift=self.ffn_shift[:, own].copy(),
        )


Reader = Callable[[Float32Array, Layout], None]
"""Takes the hidden states (T, C) of a piece and where its sequences lie; the array is written over after."""


class PortableBackbone:
    """A backbone ready to run. Safe to call from several threads at once."""

    def __init__(
        self, config: RwkvConfig, tensors: Tensors, *, threads: int = 1, unit_tokens: int = UNIT_TOKENS
    ) -> None:
        """Copy the matrices into the order that products want; the embedding is used as it is stored.

        Args:
            config: every size of the model.
            tensors: the official names and shapes; the language head and `v0 v1 v2` of layer 0 are not read.
            threads: units worked on at once.
            unit_tokens: tokens of a unit at most, and of the pieces a longer text is cut into.

        Raises:
            ArtefactError: `tensors` are not those of `config`.
            ConfigError: `threads` or `unit_tokens` is below 1.
        """
        for name, value in {"threads": threads, "unit_tokens": unit_tokens}.items():
            if value < 1:
                raise ConfigError(f"portable engine: {name} is {value}, expected at least 1")
        check_shapes({name: tensor.shape for name, tensor in tensors.items()}, config)
        self.config = config
        self._threads = threads
        self._unit_tokens = unit_tokens
        self._embedding = np.ascontiguousarray(tensors["emb.weight"], dtype=np.float32)
        self._ln0 = Norm.read(tensors, "blocks.0.ln0")
        self._layers: list[Layer | EarlierLayer] = [
            Layer.read(tensors, i) if config.version == "x070" else EarlierLayer.read(config, tensors, i)
            for i in range(config.n_layer)
        ]
        self._ln_out = Norm.read(tensors, "ln_out")
        self._idle_scratch: list[Scratch] = []

    def run(
        self, sequences: Sequence[npt.ArrayLike], states: Sequence[State | None] | None = None
    ) -> list[tuple[Float32Array, State]]:
        """Give the hidden states of every token.

        Args:
            sequences: integer token ids, (T_i,) each; T_i may be 0.
            states: of the tokens before, B = 1 each; `None` is the start.

        Returns:
            For each sequence its hidden states after `ln_out`, float32 (T_i, C), and its state afterwards.

        Raises:
            EngineError: a sequence or a state does not fit the config.
        """
        ids, before = self._checked(sequences, states)
        hidden = [np.empty((len(tokens), self.config.n_embd), np.float32) for tokens in ids]
        after = [state or zero_state(self.config, 1) for state in before]

        def work(numbers: list[int]) -> None:
            filled = [0] * len(numbers)

            def read(piece: Float32Array, layout: Layout) -> None:
                for place, (begin, end) in enumerate(layout.bounds()):
                    hidden[numbers[place]][filled[place] : filled[place] + end - begin] = piece[begin:end]
                    filled[place] += end - begin

            memory = self._run_unit(
                [ids[i] for i in numbers], [before[i] for i in numbers], read, is_kept=True
            )
            for place, number in enumerate(numbers):
                after[number] = memory.state_of(place)

        with SINGLE_THREADED_BLAS:
            run_jobs(work, self._units(ids), self._threads)
        return list(zip(hidden, after, strict=True))

    def pool(
        self,
        sequences: Sequence[npt.ArrayLike],
        before: Sequence[PooledState | None] | None = None,
        *,
        keep_state: bool = True,
    ) -> list[PooledState]:
        """Give what a head reads of each sequence, at constant memory.

        Args:
            sequences: integer token ids, (T_i,) each; T_i may be 0, which leaves the sequence as it was.
            before: what an earlier call gave for the tokens before; `None` is the start.
            keep_state: whether a further piece may follow. Without, states take no memory and less work.

        Raises:
            EngineError: a sequence or a state does not fit the config, or the earlier call kept no state.
        """
        pools = [pool or empty_pool(self.config) for pool in before or [None] * len(sequences)]
        if any(pool.count and pool.state is None for pool in pools):
            raise EngineError(
                "pool: an earlier piece was pooled with keep_state=False; pool it with keep_state=True"
            )
        ids, states = self._checked(sequences, [pool.state for pool in pools])

        def work(numbers: list[int]) -> None:
            sums = [_Sums(pools[number]) for number in numbers]

            def read(piece: Float32Array, layout: Layout) -> None:
                for own, (begin, end) in zip(sums, layout.bounds(), strict=True):
                    own.add(piece[begin:end])

            memory = self._run_unit(
                [ids[i] for i in numbers], [states[i] for i in numbers], read, is_kept=keep_state
            )
            for place, number in enumerate(numbers):
                pools[number] = sums[place].pooled(memory.state_of(place) if keep_state else None)

        with SINGLE_THREADED_BLAS:
            run_jobs(work, self._units(ids), self._threads)
        return pools

    def pack(self, pool: PooledState) -> dict[str, npt.NDArray[Any]]:
        """Give a sequence as arrays, for `unpack`; some are the pool's own.

        Raises:
            EngineError: it was pooled with keep_state=False.
        """
        return to_arrays(pool)

    def unpack(self, arrays: Mapping[str, npt.NDArray[Any]]) -> PooledState:
        """Give the sequence that `pack` gave as arrays.

        Raises:
            EngineError: the arrays are not those of a sequence of this config.
        """
        return from_arrays(self.config, arrays)

    def features(self, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Give what a head reads of whole texts: last, mean and maximum, float32 (n, 3 C).

        Args:
            ids: int32, (N,): token ids of all texts.
            offsets: int64, (n + 1,): text i has `ids[offsets[i] : offsets[i + 1]]`; none give zeros.

        Raises:
            EngineError: an id is outside the vocabulary.
        """
        pools = self.pool(np.split(ids, offsets[1:-1]), keep_state=False)
        return np.stack([np.concatenate([pool.last, pool.mean, pool.maximum]) for pool in pools])

    def _units(self, ids: Sequence[npt.NDArray[np.int64]]) -> list[list[int]]:
        return cut_units([len(tokens) for tokens in ids], self._unit_tokens)

    def _checked(
        self, sequences: Sequence[npt.ArrayLike], states: Sequence[State | None] | None
    ) -> tuple[list[npt.NDArray[np.int64]], list[State | None]]:
        """Check what was handed over."""
        ids = [check_tokens(self.config, tokens, 1) for tokens in sequences]
        before: list[State | None] = [None] * len(ids) if states is None else list(states)
        if len(before) != len(ids):
            raise EngineError(f"{len(before)} states for {len(ids)} sequences, expected one each")
        for state in before:
            if state is not None:
                check_state(self.config, state, 1)
        return ids, before

    def _run_unit(
        self,
        ids: Sequence[npt.NDArray[np.int64]],
        states: Sequence[State | None],
        read: Reader,
        *,
        is_kept: bool,
    ) -> _Memory:
        """Run the sequences of one unit, by falling length; gives their state, of use only if `is_kept`."""
        scratch = self._idle_scratch.pop() if self._idle_scratch else Scratch()
        longest = len(ids[0])
        is_cut = longest > self._unit_tokens
        memory = self._memory(states, is_kept=is_kept or is_cut)
        for begin in range(0, longest, self._unit_tokens):
            pieces = [tokens[begin : begin + self._unit_tokens] for tokens in ids]
            unit = Unit(
                layout=Layout.of([len(piece) for piece in pieces]),
                scratch=scratch,
                is_fresh=memory.is_fresh,
                is_kept=is_kept or begin + self._unit_tokens < longest,
            )
            read(self._forward(np.concatenate(pieces), unit, memory), unit.layout)
            memory.is_fresh = False
        self._idle_scratch.append(scratch)
        return memory

    def _memory(self, states: Sequence[State | None], *, is_kept: bool) -> _Memory:
        """Gather states, missing ones as zeros."""
        config = self.config
        L, n, C, H, N = config.n_layer, len(states), config.n_embd, config.n_head, config.head_size
        is_fresh = all(state is None for state in states)
        if is_fresh:
            wkv = np.empty((L if is_kept else 1, n, H, N, N), np.float32)
        else:
            wkv = np.zeros((L, n, H, N, N), np.float32)
        memory = _Memory(np.zeros((L, n, C), np.float32), wkv, np.zeros((L, n, C), np.float32), is_fresh)
        for place, state in enumerate(states):
            if state is not None:
                memory.attention_shift[:, place] = state.attention_shift[:, 0]
                memory.wkv[:, place] = state.wkv[:, 0].swapaxes(-1, -2)
                memory.ffn_shift[:, place] = state.ffn_shift[:, 0]
        return memory

    def _forward(self, ids: npt.NDArray[np.int64], unit: Unit, memory: _Memory) -> Float32Array:
        """Give the hidden states (T, C) of one piece, scratch memory; updates `memory`."""
        scratch, layout = unit.scratch, unit.layout
        shape = (layout.n_tokens, self.config.n_embd)
        x = np.take(self._embedding, ids, axis=0, out=scratch("x", *shape), mode="clip")
        normalise(x, self._ln0, x, LAYER_NORM_EPSILON)
        normed, xx = scratch("normed", *shape), scratch("xx", *shape)
        v_first: Float32Array | None = None
        for i, layer in enumerate(self._layers):
            normalise(x, layer.ln1, normed, LAYER_NORM_EPSILON)
            shift_difference(normed, memory.attention_shift[i], layout, xx)
            wkv = memory.wkv[i if len(memory.wkv) > 1 else 0]
            if isinstance(layer, Layer):
                y, v_first = time_mix(layer, normed, xx, v_first, wkv, unit)
            else:
                y = earlier.time_mix(layer, normed, xx, wkv, unit)
            x += y
            memory.attention_shift[i] = normed[layout.ends]
            normalise(x, layer.ln2, normed, LAYER_NORM_EPSILON)
            shift_difference(normed, memory.ffn_shift[i], layout, xx)
            if isinstance(layer, Layer):
                x += channel_mix(layer, normed, xx, scratch)
            else:
                x += earlier.channel_mix(layer, normed, xx, scratch)
            memory.ffn_shift[i] = normed[layout.ends]
        return normalise(x, self._ln_out, x, LAYER_NORM_EPSILON)


class _Sums:
    """What pooling adds up over the pieces of one sequence."""

    def __init__(self, before: PooledState) -> None:
        self._last = before.last
        self._total = before.total.copy()
        self._maximum: Float32Array | None = before.maximum if before.count else None
        self._count = before.count

    def add(self, hidden: Float32Array) -> None:
        """Add hidden states (T, C), T at least 1."""
        self._last = hidden[-1].copy()
        self._total += np.add.reduce(hidden, axis=0)
        largest = np.maximum.reduce(hidden, axis=0)
        self._maximum = largest if self._maximum is None else np.maximum(self._maximum, largest)
        self._count += len(hidden)

    def pooled(self, state: State | None) -> PooledState:
        """Give what was added up."""
        maximum = np.zeros_like(self._last) if self._maximum is None else self._maximum
        return PooledState(self._last, self._total, maximum, self._count, state)
