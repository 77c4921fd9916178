import importlib.util
import json
from pathlib import Path

import pytest

from gooseguard.core.errors import ConfigError
from gooseguard.core.manifest import digest_file, read_manifest
from gooseguard.core.policy import Policy, Threshold
from gooseguard.evaluation import report_folder
from gooseguard.evaluation.report_folder import report_document, report_markdown, write_report
from gooseguard.evaluation.run import EvaluationRequest, run_evaluation

_path = Path(__file__).parents[1] / "contracts" / "tiny_dataset.py"
_spec = importlib.util.spec_from_file_location("tiny_dataset", _path)
tiny_dataset = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_dataset)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    dataset = tiny_dataset.write_dataset(folder / "set", 3, 3, 60)
    policy = Policy("p", "1", {"toxicity": Threshold(0.5, 0.9)})
    request = EvaluationRequest(dataset, folder / "out", baseline=None)
    return run_evaluation(tiny_dataset.OracleScorer(), policy, {}, request, tiny_dataset.SilentListener())


def test_writes_a_whole_folder(evaluated, tmp_path):
    (tmp_path / "kept.npz").write_bytes(b"scores")
    written = write_report(evaluated, tmp_path)
    manifest = read_manifest(tmp_path, "report", 1, verify=True)
    assert set(written) == set(manifest.files)
    assert manifest.inputs == {"dataset": evaluated.dataset_digest, "model": "oracle@0123456789ab"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*written, "kept.npz", "manifest.json"])
    for name in ("precision-recall.png", "reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == report_document(evaluated)
    assert (tmp_path / "report.md").read_text("utf-8") == report_markdown(evaluated)
    for target in ("precision-recall.png", "reliability.png"):
        assert f"({target})" in report_markdown(evaluated)


def test_a_failure_leaves_the_earlier_report(evaluated, tmp_path, monkeypatch):
    written = write_report(evaluated, tmp_path)
    before = {name: digest_file(path) for name, path in written.items()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_folder, "draw_reliability", fail)
    with pytest.raises(ConfigError, match=r"the report cannot be written \(No space left on device\)"):
        write_report(evaluated, tmp_path)
    assert dict(read_manifest(tmp_path, "report", 1, verify=True).files) == before
    assert not list(tmp_path.glob(".*"))


def test_the_document_says_what_the_numbers_hang_on(evaluated):
    document = report_document(evaluated)
    assert document["kind"] == "report"
    assert document["policy"] == "p@1"
    assert document["thresholds"] == {"oracle@0123456789ab": {"toxicity": 0.5}}
    assert len(document["warnings"]) == 1
    assert f"> **Note:** {document['warnings'][0]}" in report_markdown(evaluated)
