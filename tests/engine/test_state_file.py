"""States as bytes: what goes in comes out, and anything else is refused."""

import json

import numpy as np
import pytest

from gooseguard.core.errors import ArtefactError
from gooseguard.engine.state_file import pack_state, unpack_state

FACTS = {"held": ["é", 3, ["a"]], "is_visible": True}
ARRAYS = {"wkv": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "count": np.array([7], np.int64)}
MODEL = "tiny@0123456789ab"


def test_what_goes_in_comes_out():
    facts, arrays = unpack_state(pack_state(MODEL, FACTS, ARRAYS), MODEL)
    assert facts == FACTS
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)


def test_before_the_first_token_there_are_no_arrays():
    assert unpack_state(pack_state(MODEL, FACTS, {}), MODEL) == (FACTS, {})


def test_another_model_is_refused():
    with pytest.raises(ArtefactError, match="of model tiny@0123456789ab, expected other@1"):
        unpack_state(pack_state(MODEL, FACTS, ARRAYS), "other@1")


def test_not_a_number_is_refused():
    with pytest.raises(ArtefactError, match="damaged"):
        unpack_state(pack_state(MODEL, FACTS, {"wkv": np.array([np.nan], np.float32)}), MODEL)


def test_no_prefix_of_a_state_is_a_state():
    data = pack_state(MODEL, FACTS, ARRAYS)
    for size in range(len(data)):
        with pytest.raises(ArtefactError):
            unpack_state(data[:size], MODEL)


@pytest.mark.parametrize(
    "change", [{"format": "x"}, {"format_version": "2"}, {"facts": "[]"}, {"facts": "{"}]
)
def test_other_formats_are_refused(change):
    data = pack_state(MODEL, FACTS, {})
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] |= change
    text = json.dumps(header).encode()
    with pytest.raises(ArtefactError):
        unpack_state(len(text).to_bytes(8, "little") + text, MODEL)
