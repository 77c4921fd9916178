"""The fused kernels against the chunked form, on a GPU; and what asking for them without one gives."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gooseguard.core.errors import EngineError  # noqa: E402
from gooseguard.models.fused import fuse, fused_wkv6, fused_wkv7  # noqa: E402
from gooseguard.models.rwkv import Rwkv  # noqa: E402
from gooseguard.models.wkv import wkv7  # noqa: E402
from gooseguard.models.wkv6 import wkv6  # noqa: E402

_path = Path(__file__).parents[1] / "parity" / "random_model.py"
_spec = importlib.util.spec_from_file_location("random_model", _path)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

ROUGH = 2e-2
"""Relative to the largest value: inputs of 8 bits, sums in float32."""


def model_of(version):
    config = random_model.two_heads(version)
    arrays = random_model.random_tensors(config, np.random.default_rng(0))
    model = Rwkv(config, has_head=True)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return model


@pytest.mark.parametrize("version", ["x052", "x060", "x070"])
def test_asking_without_a_gpu_or_the_library_says_what_is_missing(version):
    # Whichever is missing here; neither is ever replaced by something else unasked.
    with pytest.raises(EngineError, match=r"not installed|need a GPU"):
        fuse(model_of(version))


@pytest.mark.parametrize("version", ["x060", "x070"])
def test_a_single_token_takes_the_recurrent_form(version):
    generator = torch.Generator().manual_seed(0)
    r, k, v, a, b = (torch.randn(2, 1, 3, 8, generator=generator) for _ in range(5))
    u, state = torch.randn(3, 8, generator=generator), torch.randn(2, 3, 8, 8, generator=generator)
    inputs = (
        (r, -a.abs(), k, v, u, state) if version == "x060" else (r, -0.6 * a.sigmoid(), k, v, a, b, state)
    )
    fused, plain = (fused_wkv6, wkv6) if version == "x060" else (fused_wkv7, wkv7)
    for one, other in zip(fused(*inputs), plain(*inputs), strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
@pytest.mark.parametrize("n_token", [2, 63, 64, 300])
@pytest.mark.parametrize("version", ["x052", "x060", "x070"])
def test_fused_kernels_are_near_the_chunked_form(version, n_token):
    pytest.importorskip("fla")
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    model = model_of(version).cuda()
    tokens = torch.randint(0, 97, (2, n_token), generator=torch.Generator().manual_seed(1)).cuda()
    lengths = torch.tensor([n_token, n_token - 1]).cuda()
    results = []
    for is_fused in (False, True):
        if is_fused:
            fuse(model)
        hidden, state = model(tokens, lengths)
        loss = model.logits(hidden[:, : n_token - 1]).square().mean() + state.wkv.square().mean()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        results.append([hidden[:, : n_token - 1], state.wkv, *gradients])
    names = ["hidden", "wkv", *(name for name, _ in model.named_parameters())]
    for name, one, other in zip(names, *results, strict=True):
        assert (one - other).abs().max() < ROUGH * one.abs().max() + 1e-6, name
