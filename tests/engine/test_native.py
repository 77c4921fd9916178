"""The compiled engine against the NumPy definition, on every instruction set the CPU has."""

import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gooseguard.codec import extension
from gooseguard.codec.layout import RwkvConfig
from gooseguard.core.errors import ConfigError, EngineError
from gooseguard.engine import reference
from gooseguard.engine.portable import PortableBackbone
from gooseguard.engine.stored import WidenedTensors, lay_out_all

if extension.problem() is not None:
    pytest.skip(f"native extension {extension.problem()}", allow_module_level=True)

from gooseguard.engine.native import NativeBackbone, instruction_sets

_path = Path(__file__).parents[1] / "parity" / "random_model.py"
_spec = importlib.util.spec_from_file_location("random_model", _path)
random_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(random_model)

# Of hidden states, whose standard deviation is 1: largest error and root of the mean square. That of
# bfloat16 and int8 is what rounded activations add to rounded weights, which the reference has here too;
# random weights make more of it than trained ones.
TOLERANCES = {"f32": (1e-4, 1e-5), "bf16": (0.1, 0.015), "int8": (0.8, 0.15)}
# The norm of the heads magnifies what rounding does to a token's own bonus, of which there is one value a
# head; and in x060 all inputs are lerped by what five more rounded products give.
EARLIER_TOLERANCES = TOLERANCES | {"bf16": (0.15, 0.03)}
LENGTHS = [5, 0, 33, 1, 64, 130, 2, 12]

CONFIGS = {
    # Odd sizes: ranks that are no multiple of a group, channels that are no multiple of a tile.
    "odd": RwkvConfig(
        n_layer=3, n_embd=48, vocab_size=61, head_size=24, n_ffn=75, rank_w=7, rank_a=5, rank_v=3, rank_g=9
    ),
    "four_heads": random_model.four_heads(),
    "odd_eagle": RwkvConfig(n_layer=3, n_embd=48, vocab_size=61, head_size=24, n_ffn=75, version="x052"),
    "odd_finch": RwkvConfig(
        n_layer=3, n_embd=48, vocab_size=61, head_size=24, n_ffn=75, rank_w=7, version="x060", rank_mix=5
    ),
    "eagle": random_model.two_heads("x052"),
    "finch": random_model.two_heads("x060"),
}
ODD = ("odd", "odd_eagle", "odd_finch")
ISAS = [name for name, is_there in instruction_sets().items() if is_there]


def make(config_name):
    config = CONFIGS[config_name]
    # Not 3 for all: Eagle's then has a token whose bonus is nearly 0, which the norm of the heads magnifies
    # until the definition in float32 is 1.1e-4 from the one in float64.
    seed = 3 if config.version == "x070" else 2
    return config, random_model.random_tensors(config, np.random.default_rng(seed))


def tokens_of(config, lengths, seed=5):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, config.vocab_size, length) for length in lengths]


@pytest.mark.parametrize("isa", instruction_sets())
def test_instruction_sets_that_are_there_are_tested(isa):
    if isa not in ISAS:
        pytest.skip(f"not tested: this CPU has no {isa}")


@cache
def definition(config_name, dtype):
    """Give sequences, and hidden states and state that the reference gives for the rounded weights."""
    config, tensors = make(config_name)
    shapes = {name: array.shape for name, array in tensors.items()}
    rounded = dict(WidenedTensors(lay_out_all(tensors, dtype), shapes))
    return [
        (ids, *reference.forward(config, rounded, ids[None], dtype=np.float64))
        for ids in tokens_of(config, LENGTHS)
    ]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("config_name", CONFIGS)
@pytest.mark.parametrize("isa", ISAS)
def test_hidden_states_and_state_are_the_definitions(isa, config_name, dtype):
    config, tensors = make(config_name)
    cases = definition(config_name, dtype)[: 4 if isa == "scalar" else None]
    tolerances = TOLERANCES if config.version == "x070" else EARLIER_TOLERANCES
    largest, root_mean_square = tolerances[dtype]
    backbone = NativeBackbone.from_tensors(config, tensors, dtype, isa=isa)
    assert backbone.isa == isa

    def assert_close(found, expected, factor=1.0):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max(initial=0) <= largest * factor
        assert np.sqrt(np.square(found - expected).sum() / max(found.size, 1)) <= root_mean_square * factor

    found = backbone.run([ids for ids, _, _ in cases])
    for (ids, expected, state), (hidden, pool) in zip(cases, found, strict=True):
        assert_close(hidden, expected[0])
        assert pool.count == len(ids)
        for name in ("attention_shift", "wkv", "ffn_shift"):
            after = getattr(state, name)
            # Where nothing is removed again, as before x070, memory adds up to more.
            factor = 2.0 if config.version == "x070" else max(2.0, np.abs(after).max())
            assert_close(getattr(backbone.state_of(pool), name), after, factor)
        if len(ids):
            assert_close(pool.mean, expected[0].mean(axis=0))
            np.testing.assert_array_equal(pool.maximum, hidden.max(axis=0))
            np.testing.assert_array_equal(pool.last, hidden[-1])


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("config_name", ODD)
@pytest.mark.parametrize("isa", ISAS)
def test_company_pieces_and_threads_change_no_bit(isa, config_name, dtype):
    config, tensors = make(config_name)
    lengths = [300, 7, 12, 41, 1, 0, 260, 13] if isa != "scalar" else [30, 7, 1, 0, 12]
    ids = tokens_of(config, lengths)
    backbone = NativeBackbone.from_tensors(config, tensors, dtype, isa=isa)
    together = backbone.run(ids)
    threads = NativeBackbone.from_tensors(config, tensors, dtype, isa=isa, threads=3).run(ids[::-1])[::-1]
    for tokens, (hidden, pool), (other, other_pool) in zip(ids, together, threads, strict=True):
        ((alone, alone_pool),) = backbone.run([tokens])
        pieces, piece_pool = [], None
        for begin in range(0, len(tokens), 9):
            ((piece, piece_pool),) = backbone.run([tokens[begin : begin + 9]], [piece_pool])
            pieces.append(piece)
        for found in (other, alone, np.concatenate(pieces) if pieces else hidden):
            np.testing.assert_array_equal(found, hidden)
        for found_pool in (other_pool, alone_pool, piece_pool or pool):
            assert found_pool.count == pool.count
            for name in ("last", "mean", "maximum", "attention_shift", "wkv", "ffn_shift"):
                np.testing.assert_array_equal(getattr(found_pool, name), getattr(pool, name))


@pytest.mark.parametrize("config_name", ["four_heads", "eagle", "finch"])
def test_one_token_at_a_time_is_one_call(config_name):
    config, tensors = make(config_name)
    (tokens,) = tokens_of(config, [40])
    for dtype in TOLERANCES:
        backbone = NativeBackbone.from_tensors(config, tensors, dtype)
        (whole,) = backbone.pool([tokens])
        pool = None
        for token in tokens:
            (pool,) = backbone.pool([[token]], [pool])
        for name in ("last", "mean", "maximum", "wkv"):
            np.testing.assert_array_equal(getattr(pool, name), getattr(whole, name))


@pytest.mark.parametrize("config_name", ["odd_eagle", "odd_finch"])
def test_an_earlier_version_goes_on_from_a_state_of_the_definition(config_name):
    """A state handed over, from the first token on: against float64."""
    config, tensors = make(config_name)
    first, second = tokens_of(config, [37, 71])
    whole, after = reference.forward(config, tensors, np.concatenate([first, second])[None], dtype=np.float64)
    _, state = reference.forward(config, tensors, first[None])
    for isa in ISAS:
        backbone = NativeBackbone.from_tensors(config, tensors, isa=isa)
        empty = backbone.pack(backbone.pool([[]])[0])
        packed = empty | {name: getattr(state, name) for name in reference.State.__slots__}
        packed["count"] = np.array([len(first)], np.int64)
        ((hidden, pool),) = backbone.run([second], [backbone.unpack(packed)])
        assert np.abs(hidden - whole[0, len(first) :]).max() < TOLERANCES["f32"][0]
        for name in reference.State.__slots__:
            expected = getattr(after, name)
            difference = np.abs(getattr(backbone.state_of(pool), name) - expected).max()
            assert difference < TOLERANCES["f32"][0] * max(1.0, np.abs(expected).max())


def test_pools_are_not_written_to_and_need_their_state():
    config, tensors = make("odd")
    first, second = tokens_of(config, [9, 4])
    backbone = NativeBackbone.from_tensors(config, tensors)
    (pool,) = backbone.pool([first])
    before = pool.last.copy(), pool.wkv.copy()
    (after,) = backbone.pool([second], [pool])
    assert (pool.count, after.count) == (9, 13)
    np.testing.assert_array_equal(pool.last, before[0])
    np.testing.assert_array_equal(pool.wkv, before[1])
    (bare,) = backbone.pool([first], keep_state=False)
    np.testing.assert_array_equal(bare.mean, pool.mean)
    with pytest.raises(EngineError, match="kept no state"):
        backbone.pool([second], [bare])
    with pytest.raises(EngineError, match="kept no state"):
        backbone.state_of(bare)


def test_states_travel_between_the_engines():
    """What one packs the other goes on from; arrays of another model are refused."""
    config, tensors = make("odd")
    first, second = tokens_of(config, [9, 14])
    headless = {name: tensor for name, tensor in tensors.items() if name != "head.weight"}
    engines = [NativeBackbone.from_tensors(config, tensors), PortableBackbone(config, headless)]
    (expected,) = engines[0].pool([np.concatenate([first, second])])
    for one in engines:
        packed = one.pack(one.pool([first])[0])
        for other in engines:
            (found,) = other.pool([second], [other.unpack(packed)])
            assert found.count == 23
            for name in ("last", "mean", "maximum"):
                np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-4)
    for name, array in packed.items():
        with pytest.raises(EngineError, match="not of this model"):
            engines[0].unpack(packed | {name: array[:0]})
    with pytest.raises(EngineError, match="kept no state"):
        engines[0].pack(engines[0].pool([first], keep_state=False)[0])


def test_features_are_what_pools_hold():
    config, tensors = make("odd")
    ids = tokens_of(config, [9, 0, 300, 1])
    backbone = NativeBackbone.from_tensors(config, tensors)
    offsets = np.cumsum([0, *map(len, ids)])
    found = backbone.features(np.concatenate(ids).astype(np.int32), offsets)
    for row, pool in zip(found, backbone.pool(ids), strict=True):
        np.testing.assert_array_equal(row, np.concatenate([pool.last, pool.mean, pool.maximum]))
    assert backbone.features(np.zeros(0, np.int32), np.zeros(1, np.int64)).shape == (0, 144)
    for wrong in ([0, 2, 1], [0, 400], [-1, 2]):
        with pytest.raises(EngineError, match="offsets do not rise"):
            backbone.features(np.zeros(3, np.int32), np.array(wrong))


def test_refusals():
    config, tensors = make("odd")
    backbone = NativeBackbone.from_tensors(config, tensors)
    for tokens in ([61], [-1]):
        with pytest.raises(EngineError, match="expected 0 to 60; was the text encoded with another"):
            backbone.pool([tokens])
    with pytest.raises(EngineError, match="2 axes, expected integers with 1"):
        backbone.pool([[[1]]])
    other_config, other = make("four_heads")
    (pool,) = NativeBackbone.from_tensors(other_config, other).pool([[1]])
    with pytest.raises(EngineError, match="of another model"):
        backbone.pool([[1]], [pool])
    with pytest.raises(EngineError, match="1 pools for 2 sequences"):
        backbone.pool([[1], [2]], [None])
    with pytest.raises(ConfigError, match="threads is 0"):
        NativeBackbone.from_tensors(config, tensors, threads=0)
    with pytest.raises(
        ConfigError, match=r"instruction set is 'mmx', which is unknown; expected one of .*scalar"
    ):
        NativeBackbone.from_tensors(config, tensors, isa="mmx")
    with pytest.raises(EngineError, match=r"blocks\.1\.att\.v1 is missing"):
        NativeBackbone.from_tensors(config, {k: v for k, v in tensors.items() if not k.endswith("v1")})
    for version, name in (("eagle", "blocks.1.att.gate.weight"), ("finch", "blocks.1.att.time_maa_w2")):
        other_config, other = make(f"odd_{version}")
        with pytest.raises(EngineError, match=rf"weights: {name} is missing"):
            NativeBackbone.from_tensors(other_config, {k: v for k, v in other.items() if k != name})
    with pytest.raises(EngineError, match="no language head"):
        headless = {k: v for k, v in tensors.items() if k != "head.weight"}
        NativeBackbone.from_tensors(config, headless).logits(np.zeros((1, 48), np.float32))
    with pytest.raises(EngineError, match=r"hidden states are \(1, 47\)"):
        backbone.logits(np.zeros((1, 47), np.float32))


def test_tensors_of_another_size_or_scale_are_refused():
    config, tensors = make("odd")
    stored = lay_out_all(tensors, "int8")
    for name, change, message in (
        ("ln_out.bias", lambda data: data[:-1], "ln_out.bias has 188 bytes, expected 192"),
        ("blocks.0.ffn.key.weight", lambda data: data[:1], "blocks.0.ffn.key.weight has"),
        ("blocks.0.ffn.key.weight.scale", lambda data: -data - 1, "no scale; was the file damaged"),
        ("blocks.0.ffn.key.weight.scale", lambda data: data * np.nan, "no scale; was the file damaged"),
    ):
        changed = stored | {name: stored[name]._replace(data=change(stored[name].data))}
        with pytest.raises(EngineError, match=message):
            NativeBackbone(config, changed)
    config, tensors = make("odd_finch")
    stored, name = lay_out_all(tensors, "int8"), "blocks.2.att.time_maa_w2"
    for data, dtype in ((stored[name].data[:4], "BF16"), (stored[name].data.view(np.int8), "I8")):
        changed = stored | {name: stored[name]._replace(data=data, dtype=dtype)}
        with pytest.raises(EngineError, match=rf"{name} has \d+ bytes, expected \d+ as f32 or bf16"):
            NativeBackbone(config, changed)


@pytest.mark.parametrize("config_name", ODD)
def test_a_damaged_weight_is_not_hidden(config_name):
    """What is not finite comes out as such, whatever the dtype: scores are then refused."""
    config, tensors = make(config_name)
    tensors["blocks.0.ln1.bias"] = np.full(48, np.nan, np.float32)
    for dtype in TOLERANCES:
        for isa in ISAS:
            backbone = NativeBackbone.from_tensors(config, tensors, dtype, isa=isa)
            (pool,) = backbone.pool([[1, 2, 3]])
            assert np.isnan(pool.last).all() and np.isnan(pool.mean).all() and np.isnan(pool.maximum).all()


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells")
def test_loading_copies_no_matrix(tmp_path):
    """Memory of the process's own grows by less than a tenth of the file: ten processes share the rest."""
    program = f"""
import sys, re
from pathlib import Path
import numpy as np
sys.path.insert(0, {str(_path.parent)!r})
import random_model
from gooseguard.codec.layout import RwkvConfig
from gooseguard.codec.scores import Calibration
from gooseguard.codec.text_model import TextModel, TextModelConfig, vocabulary_digest
from gooseguard.codec.tokenizer import Tokenizer
from gooseguard.engine.file import read_engine_file, write_engine_file
from gooseguard.engine.native import NativeBackbone

def own():
    return 1024 * int(re.search(r"Anonymous: *(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1])

path = Path({str(tmp_path / "large.safetensors")!r})
if sys.argv[1] == "write":
    config = RwkvConfig(n_layer=4, n_embd=512, vocab_size=300)
    tensors = {{f"backbone.{{k}}": v for k, v in
               random_model.random_tensors(config, np.random.default_rng(1)).items() if k != "head.weight"}}
    tensors["categories.weight"] = np.zeros((1, 1536), np.float32)
    tensors["categories.bias"] = np.zeros(1, np.float32)
    tokenizer = Tokenizer([])
    digest = vocabulary_digest(tokenizer.to_json())
    whole = TextModelConfig("large", config, ("spam",), ("en",), digest)
    calibration = Calibration(("spam",), np.ones(1), np.zeros(1))
    model = TextModel(whole, tensors, calibration, tokenizer, {{}})
    write_engine_file(path, model, "f32", "")
else:
    before = own()
    file = read_engine_file(path)
    backbone = NativeBackbone(file.model.config.backbone, file.stored)
    print(own() - before, path.stat().st_size)
    assert np.isfinite(backbone.pool([[1, 2, 3]])[0].last).all()
"""
    done = [
        subprocess.run(
            [sys.executable, "-c", program, step],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for step in ("write", "read")
    ]
    own, size = map(int, done[1].stdout.split())
    assert size > 40_000_000
    assert own <= size / 10
