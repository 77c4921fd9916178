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


def definition6(r, k, v, w, u, scale, initial_state, **_):
    from fla.ops.rwkv6.recurrent_naive import naive_recurrent_rwkv6

    first = (x.transpose(1, 2).float() for x in (r, k, v, w))
    y, after = naive_recurrent_rwkv6(*first, u.float(), scale, initial_state, output_final_state=True)
    return y.transpose(1, 2), after


def definition7(r, k, v, a, b, w, scale, initial_state, **_):
    from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence

    # It divides by the square root of the head size itself.
    first = (x.transpose(1, 2).float() for x in (r * scale * r.shape[-1] ** 0.5, k, v, a, b, w))
    y, after = dplr_recurrence(*first, initial_state)
    return y.transpose(1, 2), after


@pytest.mark.gpu
@pytest.mark.parametrize("version", ["x060", "x070"])
def test_arguments_are_what_the_library_s_own_definitions_want(version, monkeypatch):
    """The kernels are defined in PyTorch beside them; so this needs the extra, but no GPU."""
    pytest.importorskip("fla")
    generator = torch.Generator().manual_seed(0)
    # What the kernels are given in bfloat16 is exact in it; for r of RWKV-7 a power of two is, too.
    r, k, v, a, b = (torch.randn(2, 70, 3, 16, generator=generator).bfloat16().float() for _ in range(5))
    a, b = (torch.nn.functional.normalize(x, dim=-1).bfloat16().float() for x in (a, b))
    log_w = -0.6 * torch.rand(2, 70, 3, 16, generator=generator)
    u, state = a[0, 0], torch.randn(2, 3, 16, 16, generator=generator)
    if version == "x060":
        monkeypatch.setattr("fla.ops.rwkv6.chunk_rwkv6", definition6)
        pairs = zip(fused_wkv6(r, log_w, k, v, u, state), wkv6(r, log_w, k, v, u, state), strict=True)
    else:
        monkeypatch.setattr("fla.ops.rwkv7.chunk_rwkv7", definition7)
        pairs = zip(fused_wkv7(r, log_w, k, v, a, -b, state), wkv7(r, log_w, k, v, a, -b, state), strict=True)
    for one, other in pairs:
        assert (one - other).abs().max() < 1e-6 * other.abs().max()
