"""Recipes of kind `fine-tune`: a random base learns 200 real rows; merged, it answers as before."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gooseguard.codec.answer import write_answer  # noqa: E402
from gooseguard.codec.prompt import encode, render  # noqa: E402
from gooseguard.codec.world import VOCAB_SIZE, WorldTokenizer  # noqa: E402
from gooseguard.core.content import Content  # noqa: E402
from gooseguard.models.adapter import read_adapter  # noqa: E402
from gooseguard.models.generate import Sampling  # noqa: E402
from gooseguard.models.language import LanguageModel  # noqa: E402
from gooseguard.models.official import load_official  # noqa: E402
from gooseguard.models.responder import Responder  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "tiny_base.py"
_spec = importlib.util.spec_from_file_location("tiny_base", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

RECIPE = """
kind = "fine-tune"
name = "tiny"
template = "instruction"
val_fraction = 0.2
[lora]
rank = 8
alpha = 16.0
[loop]
epochs = 1
learning_rate = 1e-2
warmup = 4
step_rows = 8
precision = "f32"
"""
INSTRUCTION = "Which of toxicity, insult, profanity, hate and threat does the text hold?"

needs_vocabulary = pytest.mark.skipif(
    importlib.util.find_spec("rwkv") is None, reason="needs the vocabulary of the rwkv package"
)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE, "utf-8")
    return path


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@needs_vocabulary
def test_train_tells_kinds_apart_and_writes_an_adapter(program, recipe, tmp_path):
    base = tiny.write_base(tmp_path / "base.pth", vocab_size=VOCAB_SIZE, n_embd=16, n_layer=1)
    rows = [{"instruction": "Rude?", "content": f"moron {i}", "answer": "Yes."} for i in range(20)]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    given = ["--set", f"base={base}", "--set", f"data={data}", "--output", str(tmp_path / "run")]
    status, out, err = program("train", str(recipe), *given, "--json")
    assert status == 0, err
    assert json.loads(out) == {"adapter": str(tmp_path / "run" / "adapter")}
    assert err.splitlines()[:3] == ["read instructions", "read base", "fit"]
    assert read_adapter(tmp_path / "run" / "adapter").manifest.facts["name"] == "tiny"
    merged = str(tmp_path / "merged.pth")
    assert program("merge", str(base), str(tmp_path / "run" / "adapter"), "-o", merged)[0] == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "kind=finetune",
            "expected train, fine-tune, visual, llava; did you mean 'fine-tune'",
        ),
        ("lora.rnk=3", "lora: unknown key 'rnk'; expected one of rank, alpha, targets; did you mean 'rank'"),
        ("method=lorra", "method is 'lorra', expected one of lora, state; did you mean 'lora'"),
        ("loop.precision=fp8", "precision is 'fp8', expected one of bf16, f32"),
        ("name=x", "recipe tiny.toml: base is missing; add it or pass --set base="),
    ],
)
def test_recipes_that_are_refused(program, recipe, override, message):
    given = [] if "base" in message else ["--set", "base=none.pth", "--set", "data=none"]
    status, out, err = program("train", str(recipe), *given, "--set", override)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


REAL = Path(__file__).parents[3] / "shared" / "data" / "text" / "open" / "civil_typed_spans.jsonl.gz"
LABELS = {
    "toxicity": "toxicity",
    "insult": "insult",
    "obscene": "profanity",
    "identity": "hate",
    "threat": "threat",
}


def real_rows(n_rows):
    """Give instruction rows of real texts and people's labels, as many flagged as not."""
    sides = {True: [], False: []}
    with gzip.open(REAL, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            flagged = [LABELS[name] for name, value in row["y"].items() if value]
            side = sides[bool(flagged)]
            if len(side) < n_rows // 2 and len(row["text"]) < 400:
                side.append(
                    {"instruction": INSTRUCTION, "content": row["text"], "answer": write_answer(flagged)}
                )
    return sides[True] + sides[False]


def answer_loss(model, rows, tokenizer):
    """Give the mean negative log-probability of an answer token, through the code that scores answers."""
    language, total, n_token = LanguageModel(model, tokenizer), 0.0, 0
    for row in rows:
        prompt = encode(render(row["instruction"], row["content"], template="instruction"), tokenizer)
        answer = tokenizer.encode(f" {row['answer']}") + tokenizer.encode("\n\n")
        total -= language.log_probs(language.read(prompt), [answer])[0]
        n_token += len(answer)
    return total / n_token


@pytest.mark.slow
@needs_vocabulary
@pytest.mark.skipif(not REAL.is_file(), reason="needs the labelled text beside the checkout")
@pytest.mark.parametrize("version", ["x060", "x070"])
def test_a_random_base_learns_real_rows_and_the_merged_one_answers_alike(program, recipe, tmp_path, version):
    base = tiny.write_base(tmp_path / "base.pth", version, vocab_size=VOCAB_SIZE, n_embd=64)
    rows = real_rows(200)
    data = write_rows(tmp_path / "rows.jsonl", rows)
    given = ["--set", f"base={base}", "--set", f"data={data}", "--output", str(tmp_path / "run")]
    status, _, err = program("train", str(recipe), *given, "--set", "loop.epochs=6")
    assert status == 0, err
    adapter, output = tmp_path / "run" / "adapter", tmp_path / "merged.safetensors"
    assert program("merge", str(base), str(adapter), "-o", str(output))[0] == 0
    tokenizer = WorldTokenizer.from_package()
    plain, together, merged = (load_official(path) for path in (base, base, output))
    read_adapter(adapter).apply(together)
    before, after = (answer_loss(model, rows[::10], tokenizer) for model in (plain, merged))
    # Chance is ln 65536 = 11.1.
    assert after < 0.5 * before
    for row in rows[::25]:
        prompt = encode(render(row["instruction"], row["content"], template="instruction"), tokenizer)
        one, other = (model.logits(model(torch.tensor([prompt]))[0]) for model in (together, merged))
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)
        answers = [
            Responder(LanguageModel(model, tokenizer), template="instruction").respond(
                INSTRUCTION, Content.from_text(row["content"]), Sampling(max_tokens=24)
            )
            for model in (together, merged)
        ]
        assert answers[0].text == answers[1].text
        # It has learnt what an answer looks like, and when it ends.
        assert answers[0].text.startswith("Categories:")
