"""String to scores, side by side with what a user of transformers would take: MiniLM-L6 in ONNX Runtime.

    pip install 'gooseguard[bench]'
    python benchmarks/against_minilm.py comments.jsonl.gz [--texts 256] [--threads 1]

Takes rows with a "text". The packaged model on the native engine against MiniLM-L6 (6 layers of 384, 12
heads, FFN 1536) with random weights, dynamically quantised to int8, and a WordPiece vocabulary of 30,522
words learnt from the same rows. Both go from strings to scores, tokenizing included, runs taken in turns; the
peer's texts are sorted by length, cut at 512 tokens and batched by a budget of padded tokens, the best of
three in this run. Its graph uses ONNX Runtime's fused operators; before any time is taken its float32 form is
compared with the same network in torch, and our scores with those of the NumPy engine.
"""

import argparse
import logging
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Before tokenizers is imported: one thread is one thread.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from interleaved import RUNS, ratio, take_turns, thread_scaling
from texts import describe, read_texts, sample

from gooseguard import Content, load
from gooseguard.core.scorer import Scores
from gooseguard.engine.scorer import TextScorer
from gooseguard.experiment.machine import describe_cpu

try:
    import onnx
    import onnxruntime
    import tokenizers
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic
except ModuleNotFoundError as error:
    print(f"MiniLM: skipped, {error.name} is not installed; pip install 'gooseguard[bench]'")
    raise SystemExit(0) from None

LAYERS, WIDTH, HEADS, INNER, WORDS, POSITIONS, CATEGORIES = 6, 384, 12, 1536, 30522, 512, 7
BUDGETS = (256, 1024, 4096)
TARGET = 2.0


def draw_weights() -> dict[str, np.ndarray]:
    """Draw the weights of MiniLM-L6, float32; matrices are (in, out)."""
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0.0, 0.05, shape).astype(np.float32)

    weights = {
        "words": normal(WORDS, WIDTH),
        "positions": normal(POSITIONS, WIDTH),
        "kinds": normal(2, WIDTH),
    }
    weights |= {"head": normal(WIDTH, CATEGORIES), "head_bias": normal(CATEGORIES)}
    norms = ["norm", *(f"{i}.{name}" for i in range(LAYERS) for name in ("norm1", "norm2"))]
    for name in norms:
        weights |= {name: 1 + normal(WIDTH), f"{name}_bias": normal(WIDTH)}
    for i in range(LAYERS):
        for name, n_in, n_out in (("qkv", WIDTH, 3 * WIDTH), ("out", WIDTH, WIDTH), ("up", WIDTH, INNER),
                                  ("down", INNER, WIDTH)):  # fmt: skip
            weights |= {f"{i}.{name}": normal(n_in, n_out), f"{i}.{name}_bias": normal(n_out)}
    return weights


def make_model(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Give BERT as ONNX Runtime's own fused operators.

    Source: https://onnxruntime.ai, "Contrib operators": EmbedLayerNormalization, Attention,
    SkipLayerNormalization, BiasGelu.
    """
    nodes = []

    def add(
        kind: str, inputs: Sequence[str], output: str, domain: str = "com.microsoft", **facts: object
    ) -> str:
        outputs = [output, f"{output}.mask"] if kind == "EmbedLayerNormalization" else [output]
        nodes.append(helper.make_node(kind, list(inputs), outputs, output, domain=domain, **facts))
        return output

    inputs = ["ids", "", "words", "positions", "", "norm", "norm_bias", "mask"]
    x = add("EmbedLayerNormalization", inputs, "x0", epsilon=1e-12)
    for i in range(LAYERS):
        y = add("Attention", [x, f"{i}.qkv", f"{i}.qkv_bias", "mask"], f"attention{i}", num_heads=HEADS)
        y = add("MatMul", [y, f"{i}.out"], f"out{i}", "")
        inputs = [y, x, f"{i}.norm1", f"{i}.norm1_bias", f"{i}.out_bias"]
        x = add("SkipLayerNormalization", inputs, f"mid{i}", epsilon=1e-12)
        y = add("MatMul", [x, f"{i}.up"], f"up{i}", "")
        y = add("BiasGelu", [y, f"{i}.up_bias"], f"gelu{i}")
        y = add("MatMul", [y, f"{i}.down"], f"down{i}", "")
        inputs = [y, x, f"{i}.norm2", f"{i}.norm2_bias", f"{i}.down_bias"]
        x = add("SkipLayerNormalization", inputs, f"x{i + 1}", epsilon=1e-12)
    first = add("Gather", [x, "zero"], "first", "", axis=1)
    add("Gemm", [first, "head", "head_bias"], "logits", "")
    graph = helper.make_graph(
        nodes,
        "minilm",
        [
            helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"])
            for name in ("ids", "mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CATEGORIES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name != "kinds"]
        + [numpy_helper.from_array(np.array(0, np.int64), "zero")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run_torch(weights: dict[str, np.ndarray], ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give the logits of torch's transformer encoder, which post-normalised with GELU is BERT's."""
    import torch  # noqa: PLC0415  (a peer of the peer; the comparison needs it, not this script)

    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    encoder = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(
            WIDTH, HEADS, INNER, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True
        ),
        LAYERS,
        enable_nested_tensor=False,
    ).eval()
    names = {"self_attn.in_proj": "qkv", "self_attn.out_proj": "out", "linear1": "up", "linear2": "down",
             "norm1": "norm1", "norm2": "norm2"}  # fmt: skip
    state = {}
    for i in range(LAYERS):
        for theirs, ours in names.items():
            separator = "_" if theirs.endswith("in_proj") else "."
            weight = tensors[f"{i}.{ours}"]
            state[f"layers.{i}.{theirs}{separator}weight"] = weight.T if weight.ndim == 2 else weight
            state[f"layers.{i}.{theirs}{separator}bias"] = tensors[f"{i}.{ours}_bias"]
    encoder.load_state_dict(state)
    with torch.no_grad():
        x = tensors["words"][torch.from_numpy(ids).long()] + tensors["positions"][: ids.shape[1]]
        x = torch.nn.functional.layer_norm(x, (WIDTH,), tensors["norm"], tensors["norm_bias"], 1e-12)
        x = encoder(x, src_key_padding_mask=torch.from_numpy(mask == 0))
        return np.asarray(x[:, 0] @ tensors["head"] + tensors["head_bias"])


class MiniLm:
    """Strings to logits through WordPiece and ONNX Runtime."""

    def __init__(self, path: Path, tokenizer: tokenizers.Tokenizer, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the ids of texts, at most 512 each."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def run(self, rows: Sequence[list[int]]) -> np.ndarray:
        """Give the logits of one padded batch."""
        width = max(map(len, rows))
        ids = np.zeros((len(rows), width), np.int32)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return self._session.run(None, {"ids": ids, "mask": mask})[0]

    def score(self, texts: Sequence[str], budget: int) -> np.ndarray:
        """Give the scores of texts, float (n, K), in batches of at most `budget` padded tokens."""
        rows = self.encode(texts)
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        logits = np.empty((len(rows), CATEGORIES), np.float32)
        batch: list[int] = []
        for number in order:
            # By rising length: the newest is the widest.
            if batch and len(rows[number]) * (len(batch) + 1) > budget:
                logits[batch] = self.run([rows[other] for other in batch])
                batch = []
            batch.append(number)
        logits[batch] = self.run([rows[other] for other in batch])
        return 1 / (1 + np.exp(-logits))


def learn_words(texts: Sequence[str]) -> tokenizers.Tokenizer:
    """Learn a WordPiece vocabulary of 30,522 words from texts."""
    made = tokenizers.BertWordPieceTokenizer()
    made.train_from_iterator(texts, vocab_size=WORDS, show_progress=False)
    made.enable_truncation(POSITIONS)
    return made._tokenizer  # noqa: SLF001  (the fast one, which its wrapper hides)


def check_peer(path: Path, weights: dict[str, np.ndarray], tokenizer: tokenizers.Tokenizer) -> str:
    """Compare the peer's float32 graph with torch on a padded batch; give the result in words."""
    rng = np.random.default_rng(2)
    mask = (np.arange(40) < np.array([[40], [23], [7]])).astype(np.int32)
    ids = (rng.integers(1, WORDS, mask.shape) * mask).astype(np.int32)
    rows = [ids[place, : mask[place].sum()].tolist() for place in range(len(ids))]
    found = MiniLm(path, tokenizer, 1).run(rows)
    try:
        worst = float(np.abs(found - run_torch(weights, ids, mask)).max())
    except ModuleNotFoundError:
        raise SystemExit("MiniLM: torch is not installed, so its graph cannot be checked") from None
    if worst > 1e-3:
        raise SystemExit(
            f"MiniLM: logits differ from torch's by {worst:.1e}, expected 1e-3: no times are taken"
        )
    return f"MiniLM's float32 logits differ from torch's by at most {worst:.1e}"


def check_ours(contents: Sequence[Content]) -> str:
    """Compare the native engine's scores with NumPy's; give the result in words."""
    results = []
    for backend in ("native", "portable"):
        scores = load(threads=1, backend=backend).score(contents)
        results.append(np.array([list(row.values.values()) for row in scores if isinstance(row, Scores)]))
    worst = float(np.abs(results[0] - results[1]).max())
    if worst > 0.02:
        raise SystemExit(f"our scores differ from the NumPy engine's by {worst:.1e}: no times are taken")
    return f"our scores differ from the NumPy engine's by at most {worst:.1e}"


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="+")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    everything = read_texts(options.rows)
    tokenizer = learn_words(everything)
    texts = sample(everything, options.texts)
    contents = [Content.from_text(text) for text in texts]
    weights = draw_weights()
    with tempfile.TemporaryDirectory() as folder:
        exact, small = Path(folder) / "f32.onnx", Path(folder) / "int8.onnx"
        onnx.save(make_model(weights), exact)
        # It advises a preparation that the fused operators make needless.
        logging.disable(logging.WARNING)
        quantize_dynamic(
            exact, small, weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT}
        )
        print(f"{describe_cpu()}; onnxruntime {onnxruntime.__version__}")
        print(f"{check_peer(exact, weights, tokenizer)}; {check_ours(contents[:64])}")
        for threads in options.threads:
            ours = load(threads=threads, backend="native")
            peer = MiniLm(small, tokenizer, threads)
            print(f"ours: {describe([ours.count_tokens(text) for text in texts])}")
            print(f"MiniLM: {describe([len(row) for row in peer.encode(texts)])}")
            compare(ours, peer, texts, contents, threads, options.runs)


def compare(
    ours: TextScorer, peer: MiniLm, texts: list[str], contents: list[Content], threads: int, runs: int
) -> None:
    """Take times in turns and print them."""
    sides = {"ours": lambda: ours.score(contents)}
    for budget in BUDGETS:
        sides[f"MiniLM, {budget} tokens a batch"] = lambda budget=budget: peer.score(texts, budget)
    before = thread_scaling() if threads > 1 else 0.0
    seconds = take_turns(sides, runs)
    for name, times in seconds.items():
        print(f"  {name:28} {len(texts) / statistics.median(times):8.1f} texts/s, {threads} thread(s)")
    if threads > 1:
        print(f"  two threads do {before:.2f} times the work of one before, {thread_scaling():.2f} after")
    best = min(
        (name for name in seconds if name != "ours"), key=lambda name: statistics.median(seconds[name])
    )
    aim = f", target {TARGET}" if threads == 1 else ""
    print(f"  ours / {best}: {ratio(seconds[best], seconds['ours'])}{aim}", flush=True)


if __name__ == "__main__":
    main()
