"""Prefill of short texts, side by side with llama.cpp on the same random RWKV-7 weights.

    pip install 'gooseguard[bench]'
    python benchmarks/against_llama.py [--shapes 6x256 12x768] [--threads 1]

Texts of 30 to 60 tokens, each read whole, the logits of its last token as the result. Ours against llama.cpp
(`llama-cpp-python`), float32 against F32 and int8 against Q8_0, runs taken in turns. llama.cpp takes texts
one by one or 8 or 32 in a batch, whichever is fastest in this run. Before any time is taken the logits are
compared: both float32 ones with each other, the quantised ones with float32.
"""

import argparse
import ctypes
import math
import runpy
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from interleaved import ratio, take_turns, thread_scaling

from gooseguard.codec.layout import RwkvConfig
from gooseguard.engine.native import NativeBackbone
from gooseguard.experiment.machine import describe_cpu

try:
    import gguf
    import llama_cpp
except ModuleNotFoundError as error:
    print(f"llama.cpp: skipped, {error.name} is not installed; pip install 'gooseguard[bench]'")
    raise SystemExit(0) from None

VOCABULARY = 8192
TARGETS = {("6x256", "int8"): 3.8, ("6x256", "f32"): 1.6, ("12x768", "int8"): 5.0, ("12x768", "f32"): 1.4}

# Matrices that llama.cpp's own converter quantises; the low-rank factors and vectors it leaves as they are.
QUANTISED = ("time_mix_receptance", "time_mix_key", "time_mix_value", "time_mix_output", "channel_mix_key",
             "channel_mix_value", "token_embd", "output")  # fmt: skip


def gguf_tensors(tensors: dict[str, np.ndarray], n_layer: int) -> Iterator[tuple[str, np.ndarray]]:
    """Give name and values of each tensor as llama.cpp wants them.

    Source: llama.cpp, `conversion/rwkv.py` (Rwkv7Model): names, the six lerps in one tensor, factors
    transposed, and something in place of the residual that layer 0 does not have.
    """
    norms = {"ln0": "token_embd_norm", "ln1": "blk.{}.attn_norm", "ln2": "blk.{}.attn_norm_2",
             "att.ln_x": "blk.{}.time_mix_ln"}  # fmt: skip
    yield "token_embd.weight", tensors["emb.weight"]
    yield "output.weight", tensors["head.weight"]
    for kind in ("weight", "bias"):
        yield f"output_norm.{kind}", tensors[f"ln_out.{kind}"]
    for i in range(n_layer):
        for ours, theirs in norms.items():
            for kind in ("weight", "bias"):
                if f"blocks.{i}.{ours}.{kind}" in tensors:
                    yield f"{theirs.format(i)}.{kind}", tensors[f"blocks.{i}.{ours}.{kind}"]
        att = f"blocks.{i}.att."
        for name in ("receptance", "key", "value", "output"):
            yield f"blk.{i}.time_mix_{name}.weight", tensors[f"{att}{name}.weight"]
        lerps = [tensors[f"{att}x_{letter}"].reshape(1, 1, -1) for letter in "rwkvag"]
        yield f"blk.{i}.time_mix_lerp_fused.weight", np.stack(lerps)
        for name in ("k_k", "k_a", "r_k"):
            yield f"blk.{i}.time_mix_{name}.weight", tensors[f"{att}{name}"].reshape(-1)
        for letter in "wavg":
            source = "a" if letter == "v" and i == 0 else letter
            if letter != "g":
                yield f"blk.{i}.time_mix_{letter}0.weight", tensors[f"{att}{source}0"].reshape(-1)
            for part in "12":
                yield f"blk.{i}.time_mix_{letter}{part}.weight", tensors[f"{att}{source}{part}"].T
        yield f"blk.{i}.channel_mix_lerp_k.weight", tensors[f"blocks.{i}.ffn.x_k"].reshape(1, 1, -1)
        for name in ("key", "value"):
            yield f"blk.{i}.channel_mix_{name}.weight", tensors[f"blocks.{i}.ffn.{name}.weight"]


def write_gguf(path: Path, config: RwkvConfig, tensors: dict[str, np.ndarray], *, is_quantised: bool) -> None:
    """Write a model for llama.cpp, F32 or Q8_0."""
    writer = gguf.GGUFWriter(path, "rwkv7")
    writer.add_context_length(1048576)
    writer.add_embedding_length(config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_layer_norm_eps(1e-5)
    writer.add_wkv_head_size(config.head_size)
    writer.add_decay_lora_rank(config.rank_w)
    writer.add_iclr_lora_rank(config.rank_a)
    writer.add_value_residual_mix_lora_rank(config.rank_v)
    writer.add_gate_lora_rank(config.rank_g)
    writer.add_feed_forward_length(config.n_ffn)
    writer.add_head_count(0)
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config.vocab_size)
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, tensor in gguf_tensors(tensors, config.n_layer):
        values = np.ascontiguousarray(tensor, np.float32)
        if is_quantised and any(f"{part}.weight" in name for part in QUANTISED):
            writer.add_tensor(name, gguf.quants.quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Llama:
    """A model in llama.cpp, with batches of the texts made ready."""

    def __init__(self, path: Path, texts: list[np.ndarray], together: int, threads: int) -> None:
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 4096, 2048, 512
        params.n_seq_max = together
        params.n_threads = params.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit("llama.cpp gave no context")
        self._batches = []
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        for begin in range(0, len(order), together):
            self._batches.append(self._make_batch(texts, order[begin : begin + together]))

    @staticmethod
    def _make_batch(
        texts: list[np.ndarray], numbers: list[int]
    ) -> tuple[llama_cpp.llama_batch, list[tuple[int, int]]]:
        batch = llama_cpp.llama_batch_init(sum(len(texts[number]) for number in numbers), 0, 1)
        lasts = []
        place = 0
        for sequence, number in enumerate(numbers):
            for position, token in enumerate(texts[number].tolist()):
                batch.token[place] = token
                batch.pos[place] = position
                batch.n_seq_id[place] = 1
                batch.seq_id[place][0] = sequence
                batch.logits[place] = position == len(texts[number]) - 1
                place += 1
            lasts.append((number, place - 1))
        batch.n_tokens = place
        return batch, lasts

    def logits(self) -> np.ndarray:
        """Give the logits of each text's last token, float32 (n, V)."""
        rows = {}
        memory = llama_cpp.llama_get_memory(self._context)
        for batch, lasts in self._batches:
            llama_cpp.llama_memory_clear(memory, 1)
            if llama_cpp.llama_decode(self._context, batch) != 0:
                raise SystemExit("llama.cpp could not decode")
            for number, place in lasts:
                row = llama_cpp.llama_get_logits_ith(self._context, place)
                rows[number] = np.ctypeslib.as_array(row, (VOCABULARY,)).copy()
        return np.stack([rows[number] for number in range(len(rows))])

    def close(self) -> None:
        """Let go of its memory."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


class Ours:
    """The same model in the native engine."""

    def __init__(
        self,
        config: RwkvConfig,
        tensors: dict[str, np.ndarray],
        texts: list[np.ndarray],
        dtype: str,
        threads: int,
    ) -> None:
        self._texts = texts
        self._backbone = NativeBackbone.from_tensors(config, tensors, dtype, threads=threads)
        self.isa = self._backbone.isa

    def logits(self) -> np.ndarray:
        """Give the logits of each text's last token, float32 (n, V)."""
        pools = self._backbone.pool(self._texts, keep_state=False)
        return self._backbone.logits(np.stack([pool.last for pool in pools]))


def compare(shape: str, dtype: str, folder: Path, n_texts: int, threads: int, runs: int) -> None:
    """Print parity and times of one shape and precision."""
    n_layer, n_embd = map(int, shape.split("x"))
    config = RwkvConfig(n_layer=n_layer, n_embd=n_embd, vocab_size=VOCABULARY,
                        rank_w=32, rank_a=32, rank_v=32, rank_g=32)  # fmt: skip
    rng = np.random.default_rng(1)
    draw = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "parity" / "random_model.py"))
    tensors = draw["random_tensors"](config, rng)
    texts = [rng.integers(0, VOCABULARY, rng.integers(30, 61)).astype(np.int32) for _ in range(n_texts)]
    n_tokens = sum(map(len, texts))
    path = folder / f"{shape}-{dtype}.gguf"
    write_gguf(path, config, tensors, is_quantised=dtype == "int8")
    ours = Ours(config, tensors, texts, dtype, threads)
    theirs = {f"llama.cpp, {n} together": Llama(path, texts, n, threads) for n in (1, 8, 32)}
    found, others = ours.logits(), [side.logits() for side in theirs.values()]
    if dtype == "f32":
        worst = max(float(np.abs(other - found).max()) for other in others)
        parity = f"logits (standard deviation {found.std():.2f}) differ by at most {worst:.1e}"
        if worst > 1e-3:
            raise SystemExit(f"{shape} {dtype}: {parity}; expected 1e-3: no times are taken")
    else:
        exact = Ours(config, tensors, texts, "f32", threads).logits()
        rms = [math.sqrt(float(np.square(side - exact).mean())) for side in (found, others[0])]
        parity = (
            f"root mean square of logits minus float32's (standard deviation {exact.std():.2f}): "
            f"ours {rms[0]:.3f}, Q8_0 {rms[1]:.3f}"
        )
        if max(rms) > 0.2 * exact.std():
            raise SystemExit(f"{shape} {dtype}: {parity}; expected a fifth at most: no times are taken")
    scaling = f"; two threads do {thread_scaling():.2f} times the work of one" if threads > 1 else ""
    seconds = take_turns({"ours": ours.logits} | {name: side.logits for name, side in theirs.items()}, runs)
    if threads > 1:
        scaling += f" before and {thread_scaling():.2f} after"
    best = min(theirs, key=lambda name: statistics.median(seconds[name]))
    print(
        f"L{n_layer} D{n_embd} {dtype}, {threads} thread(s), {len(texts)} texts, {n_tokens} tokens{scaling}"
    )
    print(f"  parity: {parity}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"  {name:24} {n_tokens / median:8,.0f} tokens/s {len(texts) / median:7.1f} texts/s")
    target = TARGETS.get((shape, dtype))
    aim = f", target {target}" if target and threads == 1 else ""
    print(f"  ours / {best}: {ratio(seconds[best], seconds['ours'])}{aim}", flush=True)
    for side in theirs.values():
        side.close()
    path.unlink()


def main() -> None:
    """Compare each shape and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["6x256", "12x768"])
    parser.add_argument("--dtypes", nargs="+", choices=["f32", "int8"], default=["f32", "int8"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    print(f"{describe_cpu()}; llama-cpp-python {llama_cpp.__version__}: "
          f"{llama_cpp.llama_print_system_info().decode().strip()}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for shape in options.shapes:
            for dtype in options.dtypes:
                for threads in options.threads:
                    n_texts = 64 if shape == "6x256" else 16
                    compare(shape, dtype, Path(folder), n_texts, threads, options.runs)


if __name__ == "__main__":
    main()
