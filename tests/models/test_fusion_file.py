import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gooseguard.codec.scores import Calibration
from gooseguard.core.content import Content, Modality, Part
from gooseguard.core.errors import ArtefactError
from gooseguard.models.fusion import FusionKind
from gooseguard.models.fusion_file import FORMAT, read_fusion, write_fusion
from gooseguard.models.fusion_scorer import Encoder

_spec = importlib.util.spec_from_file_location(
    "fusion_model", Path(__file__).parents[1] / "contracts" / "fusion_model.py"
)
fusion_model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fusion_model)

CATEGORIES = ("hate", "violence")
ENCODERS = {
    name: Encoder(fusion_model.WIDTH, fusion_model.encode_bytes, "d")
    for name in (Modality.TEXT, Modality.IMAGE)
}


@pytest.fixture(params=list(FusionKind))
def written(request, tmp_path):
    calibration = Calibration(CATEGORIES, np.array([2.0, 0.5]), np.array([-1.0, 0.25]))
    scorer = fusion_model.make_scorer(
        request.param, CATEGORIES, calibration=calibration, base_rates=[0.1, 0.6]
    )
    path = tmp_path / "head.safetensors"
    write_fusion(scorer, path)
    return scorer, path


def test_what_is_read_scores_as_what_was_written(written):
    scorer, path = written
    read = read_fusion(path, ENCODERS)
    contents = [
        Content.from_text("a text"),
        Content((Part.from_text("with"), fusion_model.picture(b"a picture"))),
    ]
    assert read.score(contents) == scorer.score(contents)
    assert read.name == scorer.name
    assert read.languages == {"en"}
    assert read.base_rates == (0.1, 0.6)
    assert [path.name for path in path.parent.iterdir()] == ["head.safetensors"]


def rewrite(path, change):
    with safe_open(path, "pt") as file:
        table = json.loads(file.metadata()[FORMAT])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    change(table, tensors)
    save_file(tensors, path, {FORMAT: json.dumps(table)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table, tensors: table.update(version=2), "format version is 2, expected 1"),
        (lambda table, tensors: table.update(kind="middle"), "do not fit"),
        (lambda table, tensors: table.update(width=12), "do not fit"),
        (lambda table, tensors: table.pop("categories"), "do not fit"),
        (lambda table, tensors: tensors.popitem(), "do not fit"),
        (lambda table, tensors: tensors.update(more=torch.zeros(1)), "do not fit"),
        (lambda table, tensors: table["calibration"].pop("hate"), "'hate' is missing"),
        (lambda table, tensors: table["encoders"].update(image="e"), "other encoders of image"),
    ],
)
def test_an_altered_file_is_refused(written, change, message):
    _, path = written
    rewrite(path, change)
    with pytest.raises(ArtefactError, match=message):
        read_fusion(path, ENCODERS)


def test_what_is_no_head_is_refused(tmp_path):
    path = tmp_path / "none.safetensors"
    with pytest.raises(ArtefactError, match="cannot be read as a fusion head"):
        read_fusion(path, ENCODERS)
    for data in (b"", b"junk" * 30):
        path.write_bytes(data)
        with pytest.raises(ArtefactError, match="cannot be read as a fusion head"):
            read_fusion(path, ENCODERS)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ArtefactError, match="cannot be read as a fusion head"):
        read_fusion(path, ENCODERS)
