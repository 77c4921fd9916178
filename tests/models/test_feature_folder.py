from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gooseguard.core.errors import ConfigError, ContentError
from gooseguard.models.feature_folder import FeatureFolder


class Maker:
    """Makes 100 numbers of the first byte, 400 bytes, and counts how often."""

    def __init__(self):
        self.n = 0

    def __call__(self, data):
        self.n += 1
        return torch.full((10, 10), float(data[0]))


def test_what_was_made_is_read_by_the_next_run(tmp_path):
    make = Maker()
    made = FeatureFolder(tmp_path, "tower", 10_000).get(b"a", make)
    again = FeatureFolder(tmp_path, "tower", 10_000).get(b"a", make)
    assert torch.equal(made, again)
    assert make.n == 1
    # Another image, and another tower.
    FeatureFolder(tmp_path, "tower", 10_000).get(b"b", make)
    FeatureFolder(tmp_path, "other", 10_000).get(b"a", make)
    assert make.n == 3


def test_no_more_is_kept_than_was_asked_for(tmp_path):
    make, folder = Maker(), FeatureFolder(tmp_path, "tower", 1000)
    for _ in range(2):
        for data in (b"a", b"b", b"c"):
            assert folder.get(data, make)[0, 0] == data[0]
    # Two of 400 bytes fit; the third is made each time.
    assert make.n == 4
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    # A file has a header too, so that what is there leaves no room for another.
    FeatureFolder(tmp_path, "tower", 1000).get(b"d", make)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_a_damaged_file_is_made_again(tmp_path):
    make, folder = Maker(), FeatureFolder(tmp_path, "tower", 10_000)
    folder.get(b"a", make)
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for damaged in (b"", whole[:50]):
        path.write_bytes(damaged)
        assert folder.get(b"a", make)[0, 0] == ord("a")
        assert path.read_bytes() == whole
    assert make.n == 3


def test_an_image_that_cannot_be_read_is_not_kept(tmp_path):
    def refuse(_data):
        raise ContentError("the image is damaged")

    with pytest.raises(ContentError):
        FeatureFolder(tmp_path, "tower", 10_000).get(b"a", refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "tower").write_text("a file")
    with pytest.raises(ConfigError, match="keep_features_gb = 0"):
        FeatureFolder(tmp_path, "tower", 10_000).get(b"a", Maker())


def test_threads(tmp_path):
    make, folder = Maker(), FeatureFolder(tmp_path, "tower", 100_000)
    images = [bytes([value]) for value in range(8)] * 6
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda data: folder.get(data, make), images))
    assert [features[0, 0].item() for features in found] == [data[0] for data in images]
