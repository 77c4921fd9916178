"""Fuzz target of the engine file's reader, guided by coverage: whatever is in a file, it is read or refused.

    pip install atheris
    python tests/engine/fuzz_file.py -max_total_time=60 -len_control=0 [CORPUS_FOLDER]

The input says what to do to a whole file of a tiny model: bytes overwritten, an end cut off, or one text of
the metadata replaced and the digest made to fit again, so that what lies behind it is reached too. A file
that is read is also run by the native engine, heads included, whatever its weights are. Anything
but a `GooseguardError` is a finding.
"""

import contextlib
import importlib.util
import inspect
import json
import struct
import sys
import tempfile
from pathlib import Path

import atheris

from gooseguard.codec import scores, text_model, tokenizer
from gooseguard.codec.scores import Calibration
from gooseguard.codec.text_model import TextModelConfig, model_digest
from gooseguard.core.content import Content
from gooseguard.core.errors import GooseguardError
from gooseguard.engine import file, stored
from gooseguard.engine.file import read_engine_file, write_engine_file
from gooseguard.engine.native import NativeBackbone
from gooseguard.engine.scorer import TextScorer

_path = Path(__file__).parents[1] / "contracts" / "tiny_text_model.py"
_spec = importlib.util.spec_from_file_location("tiny_text_model", _path)
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

FOLDER = Path(tempfile.mkdtemp())
PATH = FOLDER / "fuzzed.safetensors"


def whole_files() -> list[bytes]:
    """Give the bytes of tiny models' files, with and without an n-gram head, in each dtype."""
    files = []
    for n_pairs in (0, 200):
        model = tiny.make_model(n_pairs=n_pairs)
        for dtype in ("f32", "bf16", "int8"):
            write_engine_file(PATH, model, dtype, model.digest())
            files.append(PATH.read_bytes())
    return files


FILES = whole_files()


def sign(metadata: dict[str, str]) -> None:
    """Make the digest fit, if config and calibration can be read."""
    with contextlib.suppress(GooseguardError, ValueError, KeyError, RecursionError):
        config = TextModelConfig.from_json(json.loads(metadata["config"]))
        calibration = Calibration.from_json(json.loads(metadata["calibration"]), config.categories)
        metadata["digest"] = model_digest(metadata["weights_sha256"], config, calibration)


def altered(data: bytes) -> bytes:
    """Give a file as the input says."""
    provider = atheris.FuzzedDataProvider(data)
    whole = FILES[provider.ConsumeIntInRange(0, len(FILES) - 1)]
    way = provider.ConsumeIntInRange(0, 3)
    if way == 0:
        return provider.ConsumeBytes(4096)
    if way == 1:
        return whole[: provider.ConsumeIntInRange(0, len(whole))]
    if way == 2:
        changed = bytearray(whole)
        while provider.remaining_bytes() > 4:
            place = provider.ConsumeIntInRange(0, len(changed) - 1)
            changed[place] = provider.ConsumeIntInRange(0, 255)
        return bytes(changed)
    (size,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + size])
    metadata = header["__metadata__"]
    key = sorted(metadata)[provider.ConsumeIntInRange(0, len(metadata) - 1)]
    text = metadata[key]
    begin = provider.ConsumeIntInRange(0, len(text))
    end = provider.ConsumeIntInRange(begin, min(len(text), begin + 8))
    metadata[key] = text[:begin] + provider.ConsumeUnicodeNoSurrogates(16) + text[end:]
    sign(metadata)
    if provider.ConsumeBool():
        name = sorted(set(header) - {"__metadata__"})[provider.ConsumeIntInRange(0, len(header) - 2)]
        header[name]["shape"] = [provider.ConsumeIntInRange(0, 1 << 40) for _ in header[name]["shape"]]
    new = json.dumps(header, ensure_ascii=False).encode()
    return struct.pack("<Q", len(new)) + new + whole[8 + size :]


def read(data: bytes) -> None:
    """Read one altered file, and run what was read."""
    PATH.write_bytes(altered(data))
    try:
        found = read_engine_file(PATH)
        backbone = NativeBackbone(found.model.config.backbone, found.stored)
        TextScorer(found, backbone).score([Content.from_text("a bc"), Content.from_text("d")])
        read_engine_file(PATH, verify=True)
    except GooseguardError:
        pass


if __name__ == "__main__":
    # Not at import, where an editable install is passed over.
    for module in (file, stored, scores, text_model, tokenizer):
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                atheris.instrument_func(function)
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
