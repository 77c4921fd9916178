"""Eagle, Finch and Goose on every backend against the `rwkv` package: logits and state, long, odd, in pieces.

Also the tiny published models, loaded as official checkpoints. `test_rwkv7.py` has Goose on other backends.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

torch = pytest.importorskip("torch")

from gooseguard.codec import extension  # noqa: E402
from gooseguard.engine import reference  # noqa: E402
from gooseguard.engine.portable import PortableBackbone  # noqa: E402
from gooseguard.models.official import load_official  # noqa: E402
from gooseguard.models.rwkv import Rwkv, State, zero_state  # noqa: E402

HERE = Path(__file__).parent
TINY = HERE.parents[1].parent / "shared" / "data" / "rwkv-tiny"

_spec = importlib.util.spec_from_file_location("random_model", HERE / "random_model.py")
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

TOLERANCE = 1e-4
"""Of logits, whose standard deviation is near 1; of states, relative to their largest entry."""
LENGTH = 515
"""Over 512, and no multiple of a chunk."""
PIECES = {"whole": (LENGTH,), "uneven": (1, 37, 256, 221), "a token at a time at the end": (500, *(1,) * 15)}

version = pytest.mark.parametrize("version", ["x052", "x060", "x070"])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    """Give a folder with one random checkpoint a version and what the `rwkv` package makes of it."""
    if importlib.util.find_spec("rwkv") is None:
        pytest.skip("the rwkv package is not installed")
    root = tmp_path_factory.mktemp("versions")
    running = []
    for group, versions in {"earlier": ("x052", "x060"), "goose": ("x070",)}.items():
        (root / group).mkdir()
        for name in versions:
            config = random_model.two_heads(name)
            rng = np.random.default_rng(int(name[1:]))
            save_file(random_model.random_tensors(config, rng), root / group / f"{name}.safetensors")
            np.save(root / group / f"{name}.tokens.npy", rng.integers(0, config.vocab_size, LENGTH))
        command = [sys.executable, str(HERE / "rwkv_package.py"), str(root / group), group]
        running.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
    for process in running:
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
    return root


def of(checkpoints: Path, version: str, suffix: str) -> Path:
    return checkpoints / ("goose" if version == "x070" else "earlier") / f"{version}{suffix}"


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@version
@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES.keys())
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@torch.inference_mode()
def test_torch_against_the_package(version, pieces, suffix, checkpoints):
    model = load_official(of(checkpoints, version, suffix))
    assert isinstance(model, Rwkv)
    assert model.config == random_model.two_heads(version)
    tokens = torch.from_numpy(np.load(of(checkpoints, version, ".tokens.npy")))[None]
    state, parts = zero_state(model.config, 1), []
    for piece in tokens.split(pieces, dim=1):
        hidden, state = model(piece, None, state)
        parts.append(model.logits(hidden)[0])
    expected = np.load(of(checkpoints, version, ".logits.npy"))
    assert np.abs(torch.cat(parts).numpy() - expected).max() < TOLERANCE
    with np.load(of(checkpoints, version, ".state.npz")) as after:
        for name in State.__slots__:
            assert relative(getattr(state, name)[:, 0].numpy(), after[name]) < TOLERANCE, name


@version
@pytest.mark.parametrize("pieces", [(LENGTH,), (1, 37, 256, 221)], ids=["whole", "uneven"])
def test_reference_against_the_package(version, pieces, checkpoints):
    config, tensors = random_model.two_heads(version), load_file(of(checkpoints, version, ".safetensors"))
    tokens = np.load(of(checkpoints, version, ".tokens.npy"))[None]
    state, parts = None, []
    for piece in np.split(tokens, np.cumsum(pieces)[:-1], axis=1):
        hidden, state = reference.forward(config, tensors, piece, state)
        parts.append(reference.logits(tensors, hidden[0]))
    expected = np.load(of(checkpoints, version, ".logits.npy"))
    assert np.abs(np.concatenate(parts) - expected).max() < TOLERANCE
    with np.load(of(checkpoints, version, ".state.npz")) as after:
        for name in State.__slots__:
            assert relative(getattr(state, name)[:, 0], after[name]) < TOLERANCE, name


def backbones(config, tensors):
    """Give the engines, by name, on every instruction set that is there."""
    headless = {name: tensor for name, tensor in tensors.items() if name != "head.weight"}
    found = {"portable": PortableBackbone(config, headless)}
    if extension.problem() is None:
        from gooseguard.engine.native import NativeBackbone, instruction_sets

        for isa, is_there in instruction_sets().items():
            if is_there:
                found[f"native {isa}"] = NativeBackbone.from_tensors(config, tensors, isa=isa, threads=2)
    return found


@version
@pytest.mark.parametrize("pieces", [(LENGTH,), (1, 37, 0, 256, 221)], ids=["whole", "uneven"])
def test_engines_against_the_package(version, pieces, checkpoints):
    config, tensors = random_model.two_heads(version), load_file(of(checkpoints, version, ".safetensors"))
    tokens = np.load(of(checkpoints, version, ".tokens.npy"))
    expected = np.load(of(checkpoints, version, ".logits.npy"))
    for name, backbone in backbones(config, tensors).items():
        before, parts = [None], []
        for piece in np.split(tokens, np.cumsum(pieces)[:-1]):
            ((hidden, after),) = backbone.run([piece], before)
            before = [after]
            parts.append(reference.logits(tensors, hidden))
        assert np.abs(np.concatenate(parts) - expected).max() < TOLERANCE, name
        state = after if name == "portable" else backbone.state_of(after)
        with np.load(of(checkpoints, version, ".state.npz")) as wanted:
            for part in State.__slots__:
                assert relative(getattr(state, part)[:, 0], wanted[part]) < TOLERANCE, (name, part)


@version
@torch.inference_mode()
def test_torch_against_the_reference_in_a_ragged_batch(version, checkpoints):
    path = of(checkpoints, version, ".safetensors")
    model, tensors = load_official(path), load_file(path)
    lengths = [70, 1, 33, 0, 64]
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, model.config.vocab_size, (len(lengths), max(lengths)))
    # A state of another text, so that its parts count from the first token on.
    _, begin = model(torch.from_numpy(rng.integers(0, model.config.vocab_size, (len(lengths), 9))))
    hidden, after = model(torch.from_numpy(tokens), torch.tensor(lengths), begin)
    for row, length in enumerate(lengths):
        own = reference.State(*(getattr(begin, n)[:, row : row + 1].numpy() for n in State.__slots__))
        wanted, state = reference.forward(
            model.config, tensors, tokens[row : row + 1, :length], own, dtype=np.float64
        )
        assert np.abs(hidden[row, :length].numpy() - wanted[0]).max(initial=0) < TOLERANCE
        for name in State.__slots__:
            assert relative(getattr(after, name)[:, row].numpy(), getattr(state, name)[:, 0]) < TOLERANCE
    final, at_end = model.prefill(torch.from_numpy(tokens[:3]), torch.tensor(lengths[:3]), piece=16)
    whole, expected = model(torch.from_numpy(tokens[:3]), torch.tensor(lengths[:3]))
    last = whole[torch.arange(3), torch.tensor(lengths[:3]) - 1]
    assert (final - last).abs().max() < TOLERANCE
    for name in State.__slots__:
        assert relative(getattr(at_end, name).numpy(), getattr(expected, name).numpy()) < TOLERANCE


@version
def test_gradients_against_the_token_loop(version):
    """Whole models: loss through the chunked form against the same through single tokens, by autograd."""
    config = random_model.two_heads(version)
    arrays = random_model.random_tensors(config, np.random.default_rng(2))
    model = Rwkv(config, has_head=True)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    tokens = torch.from_numpy(np.random.default_rng(3).integers(0, config.vocab_size, (1, 45)))
    weights = torch.randn(1, 45, config.vocab_size, generator=torch.Generator().manual_seed(4))
    found = torch.autograd.grad((model.logits(model(tokens)[0]) * weights).sum(), list(model.parameters()))
    state, parts = zero_state(config, 1), []
    for t in range(tokens.shape[1]):
        hidden, state = model.step(tokens[:, t], state)
        parts.append(model.logits(hidden))
    loss = (torch.stack(parts, 1) * weights).sum()
    expected = torch.autograd.grad(loss, list(model.parameters()))
    for (name, _), one, other in zip(model.named_parameters(), found, expected, strict=True):
        assert (one - other).abs().max() < TOLERANCE * other.abs().max(), name


@pytest.mark.parametrize("name", ["rwkv-5.2-tiny", "rwkv-7-tiny"])
@torch.inference_mode()
def test_published_logits_of_tiny(name):
    path = TINY / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"the published {name} is not beside this checkout (shared/data/rwkv-tiny)")
    expected = json.loads((TINY / "expected_logits.json").read_text())
    model = load_official(path)
    hidden, state = model(torch.tensor([expected["prompt_bytes"]]))
    wanted = torch.tensor(expected["logits_after_last"][name])
    assert (model.logits(hidden)[0, -1] - wanted).abs().max() < TOLERANCE
    # The recurrent form, and reading ahead in pieces.
    state = zero_state(model.config, 1)
    for token in expected["prompt_bytes"]:
        one, state = model.step(torch.tensor([token]), state)
    assert (model.logits(one)[0] - wanted).abs().max() < TOLERANCE
    final, _ = model.prefill(torch.tensor([expected["prompt_bytes"]]), piece=2)
    assert (model.logits(final)[0] - wanted).abs().max() < TOLERANCE
    tensors = load_file(path)
    hidden, _ = reference.forward(model.config, tensors, [expected["prompt_bytes"]])
    assert np.abs(reference.logits(tensors, hidden[0, -1]) - wanted.numpy()).max() < TOLERANCE
    for engine, backbone in backbones(model.config, tensors).items():
        ((hidden, _),) = backbone.run([expected["prompt_bytes"]])
        assert np.abs(reference.logits(tensors, hidden[-1]) - wanted.numpy()).max() < TOLERANCE, engine
