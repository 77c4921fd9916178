import importlib.util
from pathlib import Path

import pytest
import torch

from gooseguard.core.errors import ArtefactError, ConfigError, EngineError
from gooseguard.experiment import work
from gooseguard.experiment.work import AnswerWork, RandomModel, WordVocabulary

_path = Path(__file__).parents[1] / "contracts" / "official_files.py"
_spec = importlib.util.spec_from_file_location("official_files", _path)
official = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(official)


@pytest.fixture
def _tiny(monkeypatch):
    monkeypatch.setitem(work.SHAPES, "0.1B", (2, 128))
    monkeypatch.setattr(work, "WORLD_ROWS", 512)


# Of the published models with their language heads: arXiv 2503.14456 (x070), arXiv 2404.05892 (x060, x052).
@pytest.mark.parametrize(
    ("size", "version", "millions"),
    [
        ("0.1B", "x070", 191),
        ("0.4B", "x070", 450),
        ("1.5B", "x070", 1527),
        ("2.9B", "x070", 2948),
        ("1.5B", "x060", 1600),
        ("1.5B", "x052", 1578),
    ],
)
def test_shapes_are_those_of_the_published_models(size, version, millions):
    from gooseguard.codec.layout import tensor_shapes

    shapes = tensor_shapes(RandomModel(size, version).config(), has_head=True)
    n_parameter = sum(torch.Size(shape).numel() for shape in shapes.values())
    assert n_parameter / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize("version", official.VERSIONS)
@pytest.mark.parametrize("dtype", ["bf16", "f32"])
def test_random_weights_work(version, dtype):
    heads = RandomModel("0.1B", version, dtype).with_heads()
    heads.run(["a word is a token", "b"])
    assert heads.name == f"random-{version}-0.1B-{dtype}-heads@seed0"
    assert heads.count_tokens("a word is a token") == 5
    matrix = heads._model.backbone.blocks[0].ffn.key.weight
    assert matrix.dtype == {"bf16": torch.bfloat16, "f32": torch.float32}[dtype]
    answers = RandomModel("0.1B", version, dtype).with_language_head(3)
    answers.run(["a word is a token"])


@pytest.mark.usefixtures("_tiny")
def test_a_seed_draws_the_same_weights_again():
    def matrix(seed):
        return RandomModel("0.1B", seed=seed).with_heads()._model.backbone.blocks[1].att.key.weight

    assert torch.equal(matrix(4), matrix(4))
    assert not torch.equal(matrix(4), matrix(5))


@pytest.mark.usefixtures("_tiny")
def test_figures_of_a_broken_model_are_refused():
    heads = RandomModel("0.1B").with_heads()
    heads._model.backbone.ln_out.weight.data.fill_(torch.nan)
    with pytest.raises(EngineError, match="no finite logit"):
        heads.run(["a"])


def test_answers_are_as_long_as_was_asked(tmp_path, monkeypatch):
    model = official.load_small(tmp_path, "x070")
    reads = []
    read = model.read
    monkeypatch.setattr(model, "read", lambda ids, prefix=None: reads.append(len(ids)) or read(ids, prefix))
    AnswerWork(model, "small", 5).run(["you moron"])
    # The prompt, then each token but the last.
    assert reads[0] > len("you moron")
    assert reads[1:] == [1] * 4


def test_words_are_tokens():
    vocabulary = WordVocabulary(100)
    ids = vocabulary.encode("one two  one\nthree")
    assert len(ids) == 4
    assert ids[0] == ids[2]
    assert all(1 <= token < 100 for token in ids)
    assert vocabulary.decode([3, 4]) == b" w3 w4"


def test_unknown_names():
    with pytest.raises(ConfigError, match=r"size '3B' is unknown; expected 0.1B, 0.4B, 1.5B, 2.9B"):
        RandomModel("3B").config()
    with pytest.raises(ConfigError, match="dtype 'int8' is unknown"):
        RandomModel("0.1B", dtype="int8").config()
    with pytest.raises(ArtefactError, match="version is 'x080'"):
        RandomModel("0.1B", "x080").config()
