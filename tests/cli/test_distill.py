"""The verb `distill`: from a recipe and a file of scores, or an endpoint, to an engine file that scores."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("tokenizers")

import torch

from gooseguard.backends import load
from gooseguard.core.content import Content
from gooseguard.data.shards import read_columns

HERE = Path(__file__).parents[1]


def _load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / "contracts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


easy, chat, tiny = _load("easy_texts"), _load("chat_server"), _load("tiny_base")

RECIPE = """
kind = "distill"
name = "tiny"
version = "1"
least_positives = 10
[model]
n_layer = 1
n_embd = 16
head_size = 16
vocab_size = 400
rank_g = 4
[loop]
warmup = 2
head_rate = 1.0
threads = 1
bfloat16 = false
[[loop.phases]]
epochs = 6
learning_rate = 2e-2
batch_tokens = 2048
is_shallow = true
"""


@pytest.fixture(autouse=True)
def _same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def files(tmp_path):
    """A recipe and a dataset."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE, "utf-8")
    return recipe, easy.write_dataset(tmp_path / "dataset", n_train=60)


def rate(text):
    words = set(text.split())
    return {name: 0.1 + 0.8 * bool(words & set(easy.SIGNS[name])) for name in easy.CATEGORIES}


def test_scores_in_a_file(program, files, tmp_path):
    recipe, dataset = files
    train = read_columns(dataset, "train", [])
    said = tmp_path / "said.jsonl"
    rows = [{"id": i, "scores": rate(text)} for i, text in zip(train.ids, train.texts, strict=True)]
    said.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    status, out, err = program(
        "distill", str(recipe), "--set", f"data={dataset}", "--set", f"teacher.scores={said}",
        "--output", str(tmp_path / "run"), "--json",
    )  # fmt: skip
    assert status == 0, err
    made = json.loads(out)
    assert set(made) == {"checkpoint", "policies", "engine file"}
    scorer = load(made["engine file"], threads=1)
    rude, plain = scorer.score([Content.from_text("badi moron gula"), Content.from_text("badi gula")])
    assert rude.values["toxicity"] > plain.values["toxicity"]


def test_an_endpoint_with_its_key_from_the_environment(program, files, tmp_path, monkeypatch):
    pytest.importorskip("httpx2")
    recipe, dataset = files
    monkeypatch.setenv("GOOSEGUARD_TEACHER_KEY", "sk-secret")

    def answer(body):
        return chat.completion(json.dumps(rate(json.loads(body["messages"][1]["content"]))))

    with chat.serve(answer) as server:
        text = (
            RECIPE
            + f"""
[teacher.endpoint]
url = "{server.url}"
model = "m"
categories = ["toxicity", "insult"]
"""
        )
        recipe.write_text(text, "utf-8")
        arguments = ["distill", str(recipe), "--set", f"data={dataset}", "--output", str(tmp_path / "run")]
        status, out, err = program(*arguments)
        assert status == 0, err
        n_asked = len(server.bodies)
        assert program(*arguments)[0] == 0
        # Asked once for each text, by however many runs.
        assert n_asked == len(server.bodies) == 75
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in out + err
    assert f"checkpoint: {tmp_path / 'run' / 'checkpoint'}" in out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kind=train", "recipe tiny.toml: kind is 'train', expected distill"),
        ("teach.mixin=1", "unknown key 'mixin'; expected one of mixing, "),
        ("name=a b", "name is 'a b', expected a name without spaces"),
        ("teacher.model=none", "data is missing"),
    ],
)
def test_recipes_that_are_refused(program, files, override, message):
    given = ["--set", "teacher.model=none", *(["--set", "data=none"] if "data" not in message else [])]
    status, out, err = program("distill", str(files[0]), *given, "--set", override)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


ANSWERS = """
kind = "distill-answers"
name = "tiny"
instruction = "Rude?"
compared = 1
[teacher]
max_tokens = 4
[lora]
rank = 2
[loop]
learning_rate = 1e-3
warmup = 1
precision = "f32"
"""

needs_vocabulary = pytest.mark.skipif(
    importlib.util.find_spec("rwkv") is None, reason="needs the vocabulary of the rwkv package"
)


def write_speaker(path):
    """Write a checkpoint that answers " No." to whatever ends with a colon, and then ends its turn.

    Its layers add nothing, so that the last token alone decides on the next.
    """
    from gooseguard.codec.world import VOCAB_SIZE, WorldTokenizer
    from gooseguard.models.official import write_official

    model = tiny.make_base(vocab_size=VOCAB_SIZE, n_embd=64, n_layer=1)
    said = [WorldTokenizer.from_package().encode(text)[-1] for text in (":", " No", ".", "\n\n")]
    with torch.no_grad():
        for matrix in (model.blocks[0].att.output, model.blocks[0].ffn.value, model.head):
            matrix.weight.zero_()
        hidden, _ = model(torch.tensor([said]))
        for before, after in zip(hidden[0], said[1:], strict=False):
            model.head.weight[after] = before
    return write_official(model, path)


@needs_vocabulary
@pytest.mark.parametrize("kind", ["model", "answers", "endpoint"])
def test_answers_of_a_model_of_a_file_and_of_an_endpoint(program, files, tmp_path, kind):
    pytest.importorskip("httpx2")
    recipe, dataset = files
    base = tiny.write_base(tmp_path / "base.pth", vocab_size=65536, n_embd=16, n_layer=1)
    recipe.write_text(ANSWERS, "utf-8")
    with chat.serve(lambda body: chat.completion("No.")) as server:
        if kind == "model":
            named = ["--set", f"teacher.model={write_speaker(tmp_path / 'teacher.pth')}"]
        elif kind == "endpoint":
            named = ["--set", f"teacher.endpoint.url={server.url}", "--set", "teacher.endpoint.model=m"]
        else:
            rows = [
                {"id": row, "answer": "No.", "finish": "stop"}
                for split in ("train", "val")
                for row in read_columns(dataset, split, []).ids
            ]
            said = tmp_path / "said.jsonl"
            said.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            named = ["--set", f"teacher.answers={said}"]
        status, out, err = program(
            "distill", str(recipe), *named, "--set", f"data={dataset}", "--set", f"base={base}",
            "--output", str(tmp_path / "run"), "--json",
        )  # fmt: skip
    assert status == 0, err
    made = json.loads(out)
    assert set(made) == {"instructions", "adapter", "agreement"}
    written = (Path(made["instructions"]) / "train.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in written.splitlines()]
    assert len(rows) == 75
    assert {row["answer"] for row in rows} == {"No."}
    assert json.loads(Path(made["agreement"]).read_text())["agreement"]["rows"] == 1


def test_a_recipe_of_answers_with_scores_as_teacher(program, files):
    files[0].write_text(ANSWERS, "utf-8")
    given = ["--set", "data=d", "--set", "base=b", "--set", "teacher.scores=s"]
    status, out, err = program("distill", str(files[0]), *given)
    assert (status, out) == (2, "")
    assert "teacher: unknown key 'scores'; expected one of model, answers, endpoint" in err
