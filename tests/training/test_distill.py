"""The stage dataset + teacher -> checkpoint: what it writes and refuses; a teacher helps, on real text."""

import gzip
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("tokenizers")

from gooseguard.core.content import Content  # noqa: E402
from gooseguard.core.errors import ArtefactError, ConfigError, DataError  # noqa: E402
from gooseguard.core.example import Example  # noqa: E402
from gooseguard.core.policy import load_policy  # noqa: E402
from gooseguard.data.shards import DatasetRow, read_columns, write_shards  # noqa: E402
from gooseguard.metrics.ranking import roc_auc  # noqa: E402
from gooseguard.models.checkpoint import read_checkpoint  # noqa: E402
from gooseguard.training.distill import (  # noqa: E402
    DistillConfig,
    EndpointConfig,
    Listener,
    TeacherConfig,
    distill,
)
from gooseguard.training.lessons import Lesson  # noqa: E402
from gooseguard.training.loop import LoopConfig, Phase  # noqa: E402
from gooseguard.training.run import ModelSize  # noqa: E402
from gooseguard.training.student import TeachConfig  # noqa: E402
from gooseguard.training.teachers import CheckpointTeacher  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "easy_texts.py"
_spec = importlib.util.spec_from_file_location("easy_texts", _path)
easy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(easy)

SIZE = ModelSize(n_layer=1, n_embd=32, head_size=16, vocab_size=400, rank_g=4)
LOOP = LoopConfig(
    phases=(Phase(8, 2e-2, 2048, is_shallow=True),), warmup=4, head_rate=1.0, bfloat16=False, threads=1
)


class Signs:
    """A teacher that knows the words which give the labels away; has features that say so too."""

    name, categories = "signs@1", frozenset({"toxicity", "insult", "spam"})

    def teach(self, contents):
        lessons = []
        for content in contents:
            words = set(content.parts[0].text.split())
            found = [float(bool(words & set(easy.SIGNS[name]))) for name in easy.CATEGORIES]
            scores = {name: 0.05 + 0.9 * value for name, value in zip(easy.CATEGORIES, found, strict=True)}
            lessons.append(Lesson(scores, np.array([[*found, 1.0]], np.float32)))
        return lessons


@pytest.fixture(autouse=True)
def _same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return easy.write_dataset(tmp_path_factory.mktemp("data") / "dataset", n_train=60)


@pytest.fixture
def config(dataset):
    return DistillConfig(
        "tiny", "1", str(dataset), TeacherConfig(model="named-elsewhere"), model=SIZE, loop=LOOP,
        least_positives=10,
    )  # fmt: skip


def run(config, folder, teacher=None):
    said, reports = [], []
    listener = Listener(reports.append, said.append, lambda phase, n, m: said.append(phase))
    return distill(config, folder, teacher, listener), said, reports


def test_a_student_with_its_policies_and_card(config, tmp_path):
    folder, said, _ = run(config, tmp_path / "run", Signs())
    assert list(dict.fromkeys(said)) == ["read dataset", "ask the teacher", "tokenise", "fit", "calibrate"]
    model = read_checkpoint(folder, verify=True).content
    assert model.config.name == "tiny"
    assert model.config.categories == ("toxicity", "insult")
    assert model.card["training"]["teacher"] == "signs@1"
    assert model.card["training"]["lessons"] == {"asked": 75, "kept": 0, "failed": 0}
    assert "named-elsewhere" not in json.dumps(model.card)
    assert model.card["recipe"]["teach"]["mixing"] == 0.5
    assert {path.stem for path in (tmp_path / "run" / "policies").iterdir()} == {
        "default",
        "strict",
        "lenient",
    }
    assert load_policy(tmp_path / "run" / "policies" / "default.toml").thresholds.keys() == {
        "toxicity",
        "insult",
    }
    # The same call finds everything done.
    _, _, again = run(config, tmp_path / "run", Signs())
    assert again == []


def test_with_features(config, tmp_path):
    teach = TeachConfig(hidden_weight=0.5, layers=((7, 0),))
    looped = replace(config, teach=teach, loop=replace(LOOP, phases=(Phase(1, 1e-2, 2048),)))
    folder, _, reports = run(looped, tmp_path / "run", Signs())
    assert len(reports) > 1
    assert read_checkpoint(folder).content.config.backbone.n_layer == 1


def test_lessons_are_shared(config, tmp_path):
    shared = replace(config, lessons=str(tmp_path / "lessons.sqlite"))
    run(shared, tmp_path / "one", Signs())
    folder, *_ = run(replace(shared, model=replace(SIZE, n_embd=16)), tmp_path / "two", Signs())
    assert read_checkpoint(folder).content.card["training"]["lessons"] == {
        "asked": 0,
        "kept": 75,
        "failed": 0,
    }


def test_another_teacher_does_not_go_on_with_the_run(config, tmp_path):
    run(config, tmp_path / "run", Signs())
    other = Signs()
    other.name = "signs@2"
    with pytest.raises(ArtefactError, match="was begun with another recipe or other data"):
        run(config, tmp_path / "run", other)


def test_teachers_that_cannot_teach_this(config, tmp_path):
    stranger = Signs()
    stranger.categories = frozenset({"spam"})
    with pytest.raises(ConfigError, match=r"teacher signs@1 scores none of toxicity, insult"):
        run(config, tmp_path / "run", stranger)

    class Bare(Signs):
        """Has no features."""

        def teach(self, contents):
            return [Lesson(lesson.scores) for lesson in super().teach(contents)]

    teach = TeachConfig(hidden_weight=0.5, layers=((0, 0),))
    with pytest.raises(
        ConfigError, match=r"teacher signs@1 gives no hidden features; leave out teach.layers"
    ):
        run(replace(config, teach=teach), tmp_path / "run", Bare())


def test_a_dataset_without_positives(config, tmp_path):
    with pytest.raises(DataError, match="no category has 1000 positive validation rows"):
        run(replace(config, least_positives=1000), tmp_path / "run", Signs())


@pytest.mark.parametrize(
    "options",
    [{}, {"model": "a", "scores": "b"}, {"model": "a", "endpoint": EndpointConfig("u", "m", ("insult",))}],
)
def test_exactly_one_teacher(options):
    with pytest.raises(ConfigError, match="expected exactly one of model, scores and endpoint"):
        TeacherConfig(**options)


@pytest.mark.parametrize(("key", "value"), [("name", "a b"), ("version", "")])
def test_recipes_that_are_refused(config, key, value):
    with pytest.raises(ConfigError, match=f"recipe: {key} is"):
        replace(config, **{key: value})


REAL = Path(__file__).parents[3] / "shared" / "data" / "text" / "open" / "jigsaw_binary.jsonl.gz"
N_TAUGHT, N_LABELLED, N_VAL, N_TEST = 6000, 250, 1500, 3000


def real_rows():
    """Give (text, label) of distinct real rows in a fixed order, half of them toxic."""
    with gzip.open(REAL, "rt", encoding="utf-8") as lines:
        rows = {
            row["text"][:400]: row["y"]["toxicity"]
            for row in map(json.loads, lines)
            if "toxicity" in row["y"]
        }
    order = np.random.default_rng(0).permutation(len(rows))
    texts, labels = list(rows), list(rows.values())
    sides = [[i for i in order if labels[i] == value] for value in (0, 1)]
    half = (N_TAUGHT + N_VAL + N_TEST) // 2
    mixed = [i for pair in zip(sides[0][:half], sides[1][:half], strict=True) for i in pair]
    return [(texts[i], float(labels[i])) for i in mixed]


def write_real(folder, rows, n_labelled):
    """Write a dataset: of the training rows, the first `n_labelled` have their label."""
    splits = {
        "train": rows[:N_TAUGHT],
        "val": rows[N_TAUGHT : N_TAUGHT + N_VAL],
        "test": rows[N_TAUGHT + N_VAL :],
    }
    made = {}
    for split, of_split in splits.items():
        made[split] = []
        for i, (text, label) in enumerate(of_split):
            labels = {"toxicity": label} if split != "train" or i < n_labelled else {}
            content = Content.from_text(text, "en")
            made[split].append(DatasetRow(Example(f"{split}/{i}", content, labels, (), "jigsaw"), split))
    from gooseguard.data.build import count_rows

    terms = {"licence": "CC0-1.0", "citation": "jigsaw", "language": "en", "weak": False}
    return write_shards(folder, made, {}, {}, {"counts": count_rows(made), "sets": {"jigsaw": terms}})


def measure(checkpoint, dataset):
    """Give the AUC of a checkpoint on the test rows, which neither teacher nor student saw."""
    test = read_columns(dataset, "test", ["toxicity"])
    lessons = CheckpointTeacher(read_checkpoint(checkpoint)).teach(
        [Content.from_text(text) for text in test.texts]
    )
    scores = [lesson.scores["toxicity"] if isinstance(lesson, Lesson) else 0.0 for lesson in lessons]
    return roc_auc(test.labels[:, 0], np.array(scores))


def without(config, times):
    """Give the recipe with passes so many times as many: the student alone has few rows to pass over.

    24 times, it takes as many steps as the student with a teacher, and more; 6 times, it is less sure of
    what it saw. The better of the two, on the very rows that are measured, is what the teacher has to beat.
    """
    phases = tuple(replace(phase, epochs=phase.epochs * times) for phase in config.loop.phases)
    return replace(config, loop=replace(config.loop, phases=phases))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="needs the labelled text beside the checkout")
def test_five_students_with_a_teacher_beat_the_same_without(tmp_path):
    rows = real_rows()
    many, few = (write_real(tmp_path / str(n), rows, n) for n in (N_TAUGHT, N_LABELLED))
    size = ModelSize(n_layer=1, n_embd=64, head_size=32, vocab_size=4000, rank_g=8)
    loop = LoopConfig(
        phases=(Phase(4, 3e-3, 8192, is_shallow=True), Phase(1, 1e-3, 8192)), longest=96, warmup=10,
        threads=1, bfloat16=False, validate_steps=10_000,
    )  # fmt: skip
    recipe = DistillConfig("teacher", "1", str(many), TeacherConfig(model="none"), model=size, loop=loop)
    taught_on_all, *_ = run(recipe, tmp_path / "teacher")
    teacher = CheckpointTeacher(read_checkpoint(taught_on_all))
    small = replace(size, n_embd=32, vocab_size=2000)
    gains = []
    for seed in range(5):
        student = replace(
            recipe, name="student", data=str(few), model=small, lessons=str(tmp_path / "lessons")
        )
        taught = replace(student, loop=replace(loop, seed=seed))
        best = max(
            measure(run(without(taught, times), tmp_path / f"{times}-{seed}")[0], few) for times in (6, 24)
        )
        gains.append(measure(run(taught, tmp_path / f"with-{seed}", teacher)[0], few) - best)
    assert min(gains) > 0
    assert np.mean(gains) > 0.02
