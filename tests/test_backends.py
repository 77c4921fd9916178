import importlib.util
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import gooseguard
from gooseguard import backends
from gooseguard.codec import extension
from gooseguard.codec.normalize import normalize
from gooseguard.core.errors import ArtefactError, ConfigError
from gooseguard.engine.export import export
from gooseguard.engine.file import write_engine_file

_path = Path(__file__).parent / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def official():
    """Give the module that writes official files; it needs torch."""
    place = Path(__file__).parent / "contracts" / "official_files.py"
    spec = importlib.util.spec_from_file_location("official_files", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "tiny.safetensors"
    model = tiny.make_model()
    write_engine_file(file, model, "f32", model.digest())
    return file


@pytest.mark.parametrize("kind", [str, Path])
def test_load_gives_a_scorer(path, kind):
    scorer = gooseguard.load(kind(path), threads=1, spans=True)
    assert scorer.name == f"tiny-text@{tiny.make_model().digest()[:12]}"
    (scores,) = scorer.score([gooseguard.Content.from_text("Good day. You moron.")])
    assert isinstance(scores, gooseguard.Scores)
    assert scores.values.keys() == set(tiny.CATEGORIES)


def test_threads_are_as_many_as_the_process_may_use(path, monkeypatch):
    assert backends.load(path).threads == backends.count_processors() >= 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 6}, raising=False)
    assert backends.load(path).threads == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert backends.load(path).threads == 1
    assert backends.load(path, threads=5).threads == 5
    with pytest.raises(ConfigError, match="threads is 0, expected at least 1"):
        backends.load(path, threads=0)


def test_no_such_file(tmp_path):
    with pytest.raises(
        ArtefactError, match="there is no such file; expected a file that `gooseguard export` wrote"
    ):
        backends.load(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_an_official_checkpoint_is_told_by_its_content(tmp_path, form):
    torch = pytest.importorskip("torch")
    path = official().write_pth(tmp_path / "model.bin", "x060")
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(torch.load(path, weights_only=True), path)
    threads = torch.get_num_threads()
    assert backends.is_official(path)
    scorer = backends.load(path, threads=threads, categories=("insult",))
    assert scorer.name.startswith("rwkv-x060-uncalibrated@")
    (scores,) = scorer.score([gooseguard.Content.from_text("you moron")])
    assert scores.values.keys() == {"insult"}
    assert backends.load_language(path, threads=threads).name.startswith("rwkv-x060@")


def test_a_calibration_file_makes_calibrated_scores(tmp_path):
    torch = pytest.importorskip("torch")
    path = official().write_pth(tmp_path / "model.pth", "x070")
    lines = tmp_path / "lines.json"
    lines.write_text('{"insult": {"scale": 0.001, "bias": 3}}', "utf-8")
    scorer = backends.load(path, threads=torch.get_num_threads(), calibration=lines)
    assert scorer.name.startswith("rwkv-x070@")
    (scores,) = scorer.score([gooseguard.Content.from_text("you moron")])
    # 1 / (1 + exp(-3)), nearly whatever the logit.
    assert scores.values["insult"] == pytest.approx(0.9526, abs=0.005)


def test_a_checkpoint_folder_scores_as_its_engine_file(tmp_path):
    pytest.importorskip("torch")
    from gooseguard.models.checkpoint import write_checkpoint
    from gooseguard.models.mod_rwkv import ModRwkv, ModRwkvConfig

    content = tiny.make_model()
    module = ModRwkv(ModRwkvConfig(content.config.backbone, content.config.categories))
    folder = write_checkpoint(
        tmp_path / "run", module, name="tiny", tokenizer=content.tokenizer, languages=("en",), card={},
        calibration=content.calibration.to_json(), config={}, inputs={},
    )  # fmt: skip
    export(folder, tmp_path / "tiny.safetensors", "f32")
    one, other = backends.load(folder), backends.load(tmp_path / "tiny.safetensors")
    assert one.name == other.name
    text = [gooseguard.Content.from_text("you moron")]
    assert one.score(text) == other.score(text)


@pytest.mark.parametrize("backend", backends.BACKENDS)
@pytest.mark.parametrize("version", ["x052", "x060"])
def test_earlier_versions_score_as_torch_does(version, backend, tmp_path):
    torch = pytest.importorskip("torch")
    if backend == "native" and extension.problem() is not None:
        pytest.skip(f"native extension {extension.problem()}")
    model = tiny.make_model(version=version)
    folder = tiny.write(tmp_path / "run", model)
    text = "You moron, the moron of the day. " * 20
    ids = torch.tensor([model.tokenizer.encode(normalize(text).text)])
    assert ids.shape[1] > 256
    with torch.inference_mode():
        logits = tiny.make_torch(model)(ids, torch.tensor([ids.shape[1]]))[0]
    odds = torch.tensor(model.calibration.scale) * logits + torch.tensor(model.calibration.bias)
    expected = dict(zip(tiny.CATEGORIES, torch.sigmoid(odds).tolist(), strict=True))
    for dtype, tolerance in {"f32": 1e-4, "bf16": 0.05, "int8": 0.2}.items():
        export(folder, tmp_path / f"{dtype}.safetensors", dtype)
        scorer = backends.load(tmp_path / f"{dtype}.safetensors", threads=2, backend=backend)
        assert scorer.backend.startswith(backend)
        (scores,) = scorer.score([gooseguard.Content.from_text(text)])
        assert scores.values == pytest.approx(expected, abs=tolerance)
        state = scorer.open()
        for begin in range(0, len(text), 37):
            scorer.append(state, text[begin : begin + 37])
        assert scorer.finish(state).values == pytest.approx(scores.values, abs=1e-6)


def test_options_that_do_not_fit_the_model(path, tmp_path):
    with pytest.raises(ConfigError, match=r"vocabulary: .*tiny.safetensors has its own"):
        backends.load(path, vocabulary="x.txt")
    with pytest.raises(ConfigError, match="calibration: starter-text has its own"):
        backends.load(calibration="x.json")
    pth = tmp_path / "model.pth"
    pth.write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match="spans: a language head has none"):
        backends.load(pth, spans=True)
    with pytest.raises(ConfigError, match="threads is 0"):
        backends.load_language(pth, threads=0)
    with pytest.raises(ArtefactError, match=r"is no official RWKV checkpoint; expected a \.pth"):
        backends.load_language(path)
    with pytest.raises(ArtefactError, match=r"model.pth, tiny.safetensors; expected exactly one"):
        backends.load_language(tmp_path)


def test_without_torch_the_error_says_what_to_install(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"PK\x03\x04")
    code = (
        "import sys; sys.modules['torch'] = None; from gooseguard import backends\n"
        "from gooseguard.core.errors import ConfigError\n"
        "try: backends.load(sys.argv[1])\n"
        "except ConfigError as error: assert \"pip install 'gooseguard[train]'\" in str(error)\n"
        "else: raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_without_the_packaged_starter_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "WEIGHTS", tmp_path / "weights")
    with pytest.raises(
        ArtefactError, match=r"no packaged model 'starter-text'; install .* or name an engine file"
    ):
        backends.load()


def test_no_path_means_the_packaged_starter(path, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    path.rename(tmp_path / "weights" / "starter-text.safetensors")
    monkeypatch.setattr(backends, "WEIGHTS", tmp_path / "weights")
    assert backends.load().name.startswith("tiny-text@")


def test_scoring_loads_nothing_that_it_does_not_use():
    """Each of these costs milliseconds or memory, and serves other engines, other models or people."""
    code = (
        "import sys; from gooseguard import Content, load\n"
        "load(threads=2, backend='native').score([Content.from_text('hello')])\n"
        "unused = {'concurrent.futures', 'gooseguard.engine.portable', 'importlib.resources', 'rich',\n"
        "    'tempfile', 'threadpoolctl', 'torch', 'typer'}\n"
        "assert not unused & set(sys.modules), unused & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    for name in gooseguard.__all__:
        assert getattr(gooseguard, name) is not None
    assert set(gooseguard.__all__) <= set(dir(gooseguard))
    assert gooseguard.__version__ == metadata.version("gooseguard")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gooseguard.nothing


def test_import_loads_nothing_heavy():
    code = (
        "import sys; import gooseguard; heavy = {'numpy', 'torch', 'safetensors'} & set(sys.modules); "
        "assert not heavy, heavy; from gooseguard import load, decide, load_policy, Content, Part; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_extension_is_told_once(path):
    """By the program in one line; by the API as a warning. The scores are there all the same."""
    program = (
        "import sys; sys.modules['gooseguard._native'] = None; from gooseguard.cli.main import run; "
        "sys.argv[1:] = ['score', 'good day', '--json']; run()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == (
        "warning: the native extension is not built: no C++ compiler was found when gooseguard was "
        "installed; the Python one gives the same scores, more slowly\n"
    )
    assert "starter-text@" in done.stdout
    program = (
        "import sys; sys.modules['gooseguard._native'] = None; import gooseguard; "
        f"[gooseguard.load({str(path)!r}) for _ in range(3)]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.count("RuntimeWarning: the native extension is not built") == 1
