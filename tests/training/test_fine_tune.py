"""The stage base + instructions -> adapter: what it reads, writes and refuses; the sum answers alike."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import ArtefactError, ConfigError, DataError  # noqa: E402
from gooseguard.models.adapter import Form, read_adapter  # noqa: E402
from gooseguard.models.lora import LoraConfig  # noqa: E402
from gooseguard.models.merge import merge  # noqa: E402
from gooseguard.models.official import load_official, write_official  # noqa: E402
from gooseguard.training.answer_loop import Precision, TuneConfig  # noqa: E402
from gooseguard.training.fine_tune import FineTuneConfig, Method, fine_tune, read_rows  # noqa: E402
from gooseguard.training.processes import join  # noqa: E402

_path = Path(__file__).parents[1] / "contracts" / "tiny_base.py"
_spec = importlib.util.spec_from_file_location("tiny_base", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

LOOP = TuneConfig(
    epochs=2, learning_rate=2e-2, warmup=2, step_rows=8, precision=Precision.F32, is_checkpointed=False
)


def write_rows(path, numbers, answer="Yes."):
    rows = [{"instruction": "Rude?", "content": f"you moron {i}", "answer": answer} for i in numbers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def config(tmp_path):
    base = tiny.write_base(tmp_path / "base.pth")
    data = write_rows(tmp_path / "rows.jsonl", range(60))
    return FineTuneConfig("tiny", str(base), str(data), val_fraction=0.2, lora=LoraConfig(rank=4), loop=LOOP)


def run(config, folder):
    said, reports = [], []
    made = fine_tune(config, folder, tiny.Bytes(), reports.append, said.append, join())
    return made, said, reports


def test_an_adapter_that_names_its_base_and_answers_alike_once_merged(config, tmp_path):
    folder, said, reports = run(config, tmp_path / "run")
    assert folder == tmp_path / "run" / "adapter"
    assert said == ["read instructions", "read base", "fit"]
    assert reports[-1].validation_loss < 0.7 * reports[0].loss
    adapter = read_adapter(folder)
    assert adapter.form is Form.LORA
    facts = adapter.manifest.facts
    assert facts["rows"]["train"] + facts["rows"]["val"] == 60
    assert facts["training"]["steps"] == len(reports)
    assert not {"base", "data", "vocabulary"} & set(adapter.manifest.config)
    merge(Path(config.base), folder, tmp_path / "merged.safetensors")
    together, merged = load_official(config.base), load_official(tmp_path / "merged.safetensors")
    adapter.apply(together)
    tokens = torch.randint(1, 257, (2, 30), generator=torch.Generator().manual_seed(0))
    expected, found = (model.logits(model(tokens)[0]) for model in (together, merged))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))


def test_states(config, tmp_path):
    folder, *_ = run(replace(config, method=Method.STATE), tmp_path / "run")
    adapter = read_adapter(folder)
    assert adapter.form is Form.STATE
    assert sorted(adapter.tensors) == ["blocks.0.att.state", "blocks.1.att.state"]
    assert all(tensor.abs().max() > 0 for tensor in adapter.tensors.values())


def test_the_same_call_goes_on_and_another_recipe_is_refused(config, tmp_path):
    run(config, tmp_path / "run")
    _, _, reports = run(config, tmp_path / "run")
    assert reports == []
    changed = replace(config, loop=replace(LOOP, epochs=3))
    with pytest.raises(ArtefactError, match="was begun with another recipe or other data"):
        run(changed, tmp_path / "run")
    # Where the files lie is no difference; what is in them is.
    moved = Path(config.base).rename(tmp_path / "moved.pth")
    run(replace(config, base=str(moved)), tmp_path / "run")
    tiny.write_base(moved, seed=5)
    with pytest.raises(ArtefactError, match="was begun with another recipe or other data"):
        run(replace(config, base=str(moved)), tmp_path / "run")


def test_no_conversation_is_on_both_sides(config, tmp_path):
    doubled = tmp_path / "doubled.jsonl"
    doubled.write_text(Path(config.data).read_text() * 3)
    train, val, inputs = read_rows(replace(config, data=str(doubled)), tiny.Bytes())
    texts = [
        {bytes(rows.tokens[a:b].astype("u2")) for a, b in zip(rows.offsets, rows.offsets[1:], strict=False)}
        for rows in (train, val)
    ]
    assert not texts[0] & texts[1]
    assert (len(train), len(val)) == (3 * len(texts[0]), 3 * len(texts[1]))
    # 60 rows, a fifth of them: far from 0 and from all.
    assert 4 <= len(texts[1]) <= 22
    assert set(inputs) == {"train"}


def test_val_files_are_taken_and_their_rows_left_out_of_train(config, tmp_path):
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "train.jsonl", range(20))
    write_rows(tmp_path / "data" / "val.jsonl", range(15, 25))
    train, val, inputs = read_rows(replace(config, data=str(tmp_path / "data")), tiny.Bytes())
    assert (len(train), len(val)) == (15, 10)
    assert set(inputs) == {"train", "val"}


def test_rows_that_are_all_too_long(config):
    short = replace(config, loop=replace(LOOP, longest=10))
    with pytest.raises(
        DataError, match=r"no training row is left \(60 read, \d+ longer than loop.longest 10\)"
    ):
        read_rows(short, tiny.Bytes())


def test_a_base_without_a_language_head_is_refused(config, tmp_path):
    model = tiny.make_base()
    model.head = None
    write_official(model, tmp_path / "headless.pth")
    with pytest.raises(ConfigError, match=r"has no head.weight, and cannot answer"):
        run(replace(config, base=str(tmp_path / "headless.pth")), tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a b"}, "name is 'a b', expected a name without spaces"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0, expected at least 0, below 1"),
        ({"template": "caht"}, "template 'caht' is unknown; expected chat, instruction; did you mean 'chat'"),
    ],
)
def test_recipes_that_are_refused(config, options, message):
    with pytest.raises(ConfigError, match=message):
        replace(config, **options)


def test_another_vocabulary_is_refused(config, tmp_path):
    small = tiny.write_base(tmp_path / "small.pth", vocab_size=100)
    with pytest.raises(ConfigError, match=r"small.pth: has 100 tokens, the vocabulary gave token 122"):
        run(replace(config, base=str(small)), tmp_path / "run")
