"""RWKV-7 of every backend against logits that other implementations gave.

A backend joins by one entry in BACKENDS: a function (config, tensors, tokens (T,)) -> logits (T, V).
"""

import importlib.util
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gooseguard.codec import extension
from gooseguard.codec.layout import RwkvConfig, infer_config, tensor_shapes
from gooseguard.engine import reference
from gooseguard.engine.portable import PortableBackbone

HERE = Path(__file__).parent
TINY = HERE.parents[1].parent / "shared" / "data" / "rwkv-tiny"

_spec = importlib.util.spec_from_file_location("random_model", HERE / "random_model.py")
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

TOLERANCE = 1e-4
LENGTHS = (300, 513)
POSITIONS = (0, 1, 2, 15, 16, 17, 31, 32, 63, 64, 127, 255, 256, 299)


def reference_logits(config: RwkvConfig, tensors: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    hidden, _ = reference.forward(config, tensors, tokens[None])
    return reference.logits(tensors, hidden[0])


def portable_logits(config: RwkvConfig, tensors: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    ((hidden, _),) = PortableBackbone(config, tensors).run([tokens])
    return reference.logits(tensors, hidden)


def torch_logits(config: RwkvConfig, tensors: dict[str, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch")
    from gooseguard.models.rwkv import Rwkv

    model = Rwkv(config)
    # The published files carry what layer 0 never reads, and the language head.
    model.load_state_dict({name: torch.from_numpy(tensors[name]) for name in tensor_shapes(config)})
    with torch.inference_mode():
        hidden, _ = model(torch.from_numpy(tokens)[None])
    return reference.logits(tensors, hidden[0].numpy())


def native_logits(
    config: RwkvConfig, tensors: dict[str, np.ndarray], tokens: np.ndarray, isa: str
) -> np.ndarray:
    if extension.problem() is not None:
        pytest.skip(f"native extension {extension.problem()}")
    from gooseguard.engine.native import NativeBackbone, instruction_sets

    if not instruction_sets().get(isa, False):
        pytest.skip(f"not tested: this CPU or this build has no {isa}")
    backbone = NativeBackbone.from_tensors(config, tensors, isa=isa)
    ((hidden, _),) = backbone.run([tokens])
    return backbone.logits(hidden)


BACKENDS = {
    "reference": reference_logits,
    "portable": portable_logits,
    "torch": torch_logits,
    "native_scalar": partial(native_logits, isa="scalar"),
    "native_avx2": partial(native_logits, isa="avx2"),
    "native_avx2vnni": partial(native_logits, isa="avx2vnni"),
    "native_avx512": partial(native_logits, isa="avx512"),
    "native_neon": partial(native_logits, isa="neon"),
}

backend = pytest.mark.parametrize("logits_of", BACKENDS.values(), ids=BACKENDS.keys())


@pytest.fixture(scope="module")
def tiny() -> tuple[RwkvConfig, dict[str, np.ndarray]]:
    path = TINY / "rwkv-7-tiny.safetensors"
    if not path.exists():
        pytest.skip("the published rwkv-7-tiny is not beside this checkout (shared/data/rwkv-tiny)")
    tensors = load_file(path)
    return infer_config({name: tensor.shape for name, tensor in tensors.items()}), tensors


@pytest.fixture(scope="module")
def four_heads() -> tuple[RwkvConfig, dict[str, np.ndarray]]:
    config = random_model.four_heads()
    return config, random_model.random_tensors(config, np.random.default_rng(7))


@pytest.fixture(scope="module")
def package_logits(tiny, four_heads, tmp_path_factory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Give tokens and logits, (T,) and (T, V), of each model at each length."""
    for module in ("rwkv", "torch"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the {module} package is not installed")
    folder = tmp_path_factory.mktemp("rwkv_package")
    rng = np.random.default_rng(11)
    tokens = {}
    for name, (config, tensors) in {"tiny": tiny, "four_heads": four_heads}.items():
        for length in LENGTHS:
            case = f"{name}_{length}"
            tokens[case] = rng.integers(0, config.vocab_size, length)
            save_file(tensors, folder / f"{case}.safetensors")
            np.save(folder / f"{case}.tokens.npy", tokens[case])
    done = subprocess.run(
        [sys.executable, str(HERE / "rwkv_package.py"), str(folder), "goose"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {case: (ids, np.load(folder / f"{case}.logits.npy")) for case, ids in tokens.items()}


@backend
def test_published_logits_of_tiny(logits_of, tiny):
    config, tensors = tiny
    expected = json.loads((TINY / "expected_logits.json").read_text())
    found = logits_of(config, tensors, np.array(expected["prompt_bytes"]))[-1]
    assert np.abs(found - expected["logits_after_last"]["rwkv-7-tiny"]).max() < TOLERANCE


@backend
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("model", ["tiny", "four_heads"])
def test_logits_of_the_rwkv_package(logits_of, model, length, package_logits, request):
    config, tensors = request.getfixturevalue(model)
    tokens, expected = package_logits[f"{model}_{length}"]
    found = logits_of(config, tensors, tokens)
    positions = [*(p for p in POSITIONS if p < length), length - 1]
    assert found.shape == expected.shape
    assert np.abs(found[positions] - expected[positions]).max() < TOLERANCE


@pytest.mark.parametrize("length", LENGTHS)
def test_float32_is_near_float64(length, four_heads):
    config, tensors = four_heads
    tokens = np.random.default_rng(length).integers(0, config.vocab_size, (1, length))
    exact, _ = reference.forward(config, tensors, tokens, dtype=np.float64)
    ((fast, _),) = PortableBackbone(config, tensors).run(tokens)
    assert exact.dtype == np.float64
    assert np.abs(fast - exact[0]).max() < TOLERANCE
