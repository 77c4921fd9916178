"""Answers of a teacher become instructions, and a language model that answers as it does."""

import gzip
import importlib.util
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from gooseguard.backends import load  # noqa: E402
from gooseguard.codec.world import WorldTokenizer  # noqa: E402
from gooseguard.core.content import Content  # noqa: E402
from gooseguard.core.errors import ConfigError, DataError  # noqa: E402
from gooseguard.core.example import Example  # noqa: E402
from gooseguard.core.scorer import ScoreError  # noqa: E402
from gooseguard.data.shards import DatasetRow, write_shards  # noqa: E402
from gooseguard.models.adapter import read_adapter  # noqa: E402
from gooseguard.models.lora import LoraConfig  # noqa: E402
from gooseguard.training.answer_loop import Precision, TuneConfig  # noqa: E402
from gooseguard.training.distill import EndpointConfig, Listener  # noqa: E402
from gooseguard.training.distill_answers import (  # noqa: E402
    AnswerDistillConfig,
    AnswerTeacherConfig,
    distill_answers,
)
from gooseguard.training.fine_tune import Method  # noqa: E402
from gooseguard.training.lessons import Lesson  # noqa: E402

HERE = Path(__file__).parents[1]


def _load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / "contracts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


easy, tiny = _load("easy_texts"), _load("tiny_base")
LOOP = TuneConfig(
    epochs=1, learning_rate=1e-2, warmup=2, step_rows=16, precision=Precision.F32, is_checkpointed=False
)


class Signs:
    """Answers by the words that give the labels away; of some texts in another form, or not at all."""

    name, categories = "signs@1", frozenset()

    def __init__(self):
        self.n_asked = 0

    def teach(self, contents):
        self.n_asked += len(contents)
        return [self._answer(content.parts[0].text) for content in contents]

    def _answer(self, text):
        words = set(text.split())
        if "nitwit" in words:
            return Lesson({}, answer="I would rather not say.")
        if "buffoon" in words:
            return Lesson({})
        return Lesson(
            {}, answer=f"Categories: {'toxicity' if words & set(easy.SIGNS['toxicity']) else 'none'}"
        )


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return easy.write_dataset(tmp_path_factory.mktemp("data") / "dataset", n_train=40, n_val=20)


@pytest.fixture
def config(dataset, tmp_path):
    base = tiny.write_base(tmp_path / "base.pth")
    return AnswerDistillConfig(
        "tiny", str(base), str(dataset), AnswerTeacherConfig(answers="elsewhere", max_tokens=4),
        categories=("toxicity", "insult"), compared=2, lora=LoraConfig(rank=2, alpha=4.0), loop=LOOP,
    )  # fmt: skip


def run(config, folder, teacher, tokenizer=None):
    said, reports = [], []
    listener = Listener(reports.append, said.append, lambda phase, n, m: said.append(phase))
    made = distill_answers(config, folder, teacher, tokenizer or tiny.Bytes(), listener)
    return made, list(dict.fromkeys(said)), reports


def read_rows(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_answers_become_instructions_and_an_adapter(config, tmp_path):
    teacher = Signs()
    made, said, reports = run(config, tmp_path / "run", teacher)
    assert said == [
        "read dataset", "ask the teacher", "read instructions", "read base", "fit", "compare answers",
        "compare answers before", "compare answers after",
    ]  # fmt: skip
    rows = read_rows(made["instructions"] / "train.jsonl")
    # What is of another form, or no answer at all, is not learnt where categories are asked for.
    assert rows
    assert not [row for row in rows if {"nitwit", "buffoon"} & set(row["content"].split())]
    for row in rows:
        is_toxic = bool(set(easy.SIGNS["toxicity"]) & set(row["content"].split()))
        assert row["answer"] == f"Categories: {'toxicity' if is_toxic else 'none'}"
        assert (row["instruction"], row["teacher"]) == (config.question, "signs@1")
    assert "- insult: " in config.question
    assert "- threat: " not in config.question
    facts = json.loads(made["agreement"].read_text())
    assert facts["rows"]["train"] == {"texts": 50, "learnt": len(rows), "failed": 0}
    assert facts["rows"]["val"]["texts"] == 25
    assert facts["agreement"]["rows"] == 2
    assert read_adapter(made["adapter"]).manifest.facts["rows"]["train"] == len(rows)
    assert reports
    # The same call asks nobody again, and fits nothing again.
    before = teacher.n_asked
    _, _, again = run(config, tmp_path / "run", teacher)
    assert (teacher.n_asked, again) == (before, [])


def test_words_of_any_form_are_learnt_where_the_instruction_is_the_operators_own(config, tmp_path):
    own = replace(config, categories=(), instruction="Well?", compared=0)
    made, _, _ = run(own, tmp_path / "run", Signs())
    rows = read_rows(made["instructions"] / "train.jsonl")
    assert {row["answer"] for row in rows} == {
        "I would rather not say.", "Categories: toxicity", "Categories: none",
    }  # fmt: skip
    assert {row["instruction"] for row in rows} == {"Well?"}
    assert "agreement" not in json.loads(made["agreement"].read_text())


def test_states_can_be_learnt_from_answers(config, tmp_path):
    state = replace(config, method=Method.STATE, compared=0)
    made, _, _ = run(state, tmp_path / "run", Signs())
    assert read_adapter(made["adapter"]).form == "state"


def test_a_teacher_without_one_answer(config, tmp_path):
    class Mute(Signs):
        def _answer(self, text):
            return Lesson({})

    with pytest.raises(
        DataError, match=r"teacher signs@1 gave no answer that can be learnt \(0 of 50 failed"
    ):
        run(config, tmp_path / "run", Mute())


def test_a_text_that_the_teacher_fails_on_is_left_out_and_counted(config, tmp_path):
    class Once(Signs):
        """Fails on the first text of each call."""

        def teach(self, contents):
            return [ScoreError("EngineError", "no"), *super().teach(contents)[1:]]

    made, _, _ = run(replace(config, compared=0), tmp_path / "run", Once())
    assert json.loads(made["agreement"].read_text())["rows"]["train"]["failed"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a b"}, "name is 'a b'"),
        ({"instruction": "Rude?"}, "categories and instruction are both given"),
        ({"categories": ("insults",)}, "unknown category 'insults'; did you mean 'insult'"),
        ({"method": Method.STATE}, "compared needs method lora"),
    ],
)
def test_recipes_that_are_refused(config, options, message):
    with pytest.raises(ConfigError, match=message):
        replace(config, **options)


@pytest.mark.parametrize(
    "options", [{}, {"model": "a", "answers": "b"}, {"model": "a", "endpoint": EndpointConfig("u", "m")}]
)
def test_exactly_one_teacher(options):
    with pytest.raises(ConfigError, match="expected exactly one of model, answers and endpoint"):
        AnswerTeacherConfig(**options)


REAL = Path(__file__).parents[3] / "shared" / "data" / "text" / "open" / "jigsaw_binary.jsonl.gz"
N_TRAIN, N_VAL = 2000, 200


class Starter:
    """The packaged model's scores, put in words: a real teacher, which learnt from other rows as well."""

    name, categories = "starter-in-words@1", frozenset()

    def __init__(self):
        self.scorer = load(threads=1)

    def teach(self, contents):
        scores = [scores.values["toxicity"] for scores in self.scorer.score(contents)]
        return [Lesson({}, answer="yes" if score > 0.5 else "no") for score in scores]


def real_texts(teacher):
    """Give distinct real texts, of which the teacher says yes to every other."""
    with gzip.open(REAL, "rt", encoding="utf-8") as lines:
        texts = sorted({json.loads(line)["text"][:160] for line in lines})
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:12_000] if texts[i].strip()]
    answers = [lesson.answer for lesson in teacher.teach([Content.from_text(text) for text in texts])]
    sides = [
        [text for text, said in zip(texts, answers, strict=True) if said == word] for word in ("yes", "no")
    ]
    half = (N_TRAIN + N_VAL) // 2
    return [text for pair in zip(sides[0][:half], sides[1][:half], strict=True) for text in pair]


def write_texts(folder, texts):
    parts = {"train": texts[:N_TRAIN], "val": texts[N_TRAIN:]}
    rows = {
        split: [
            DatasetRow(Example(f"{split}/{i}", Content.from_text(text, "en"), {}, (), "jigsaw"), split)
            for i, text in enumerate(of_split)
        ]
        for split, of_split in parts.items()
    }
    return write_shards(folder, rows, {}, {}, {})


def small_vocabulary(texts):
    """Make a vocabulary of bytes and the commonest words: a small student need not have 65,536 rows."""
    words = Counter(word for text in texts for word in re.findall(r" ?\w+", text))
    common = [word.encode() for word, _ in words.most_common(3800) if len(word.encode()) > 1]
    return WorldTokenizer([b"", *(bytes([byte]) for byte in range(256)), *common])


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="needs the text beside the checkout")
def test_a_random_base_learns_to_answer_real_texts_as_the_teacher(tmp_path):
    """Of rows that neither saw, the teacher answers yes to half: one answer for all would agree on half."""
    teacher = Starter()
    texts = real_texts(teacher)
    tokenizer = small_vocabulary(texts[:N_TRAIN])
    base = tiny.write_base(tmp_path / "base.pth", vocab_size=tokenizer.vocab_size, n_embd=64, n_layer=1)
    config = AnswerDistillConfig(
        "tiny", str(base), str(write_texts(tmp_path / "dataset", texts)),
        AnswerTeacherConfig(answers="elsewhere", max_tokens=8), instruction="Toxic?", val_rows=N_VAL,
        compared=N_VAL, lora=LoraConfig(rank=16, alpha=32.0),
        loop=replace(LOOP, epochs=3, warmup=10, step_rows=32, validate_steps=20),
    )  # fmt: skip
    made, _, reports = run(config, tmp_path / "run", teacher, tokenizer)
    agreement = json.loads(made["agreement"].read_text())["agreement"]
    assert agreement["rows"] == N_VAL
    # A random base writes no answer at all; 0.58 is 2.3 standard deviations above chance.
    assert agreement["before"] < 0.05
    assert agreement["after"] > 0.58
    assert reports[-1].validation_loss < 0.5 * reports[0].loss
    assert reports[-1].validation_loss < reports[20].validation_loss
