"""LSPD: images by class folder; an unknown class and an unreadable image are named."""

import io
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from published import skipping


def test_classes_by_folder(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "JPEG")
    for name in ("porn/1.jpg", "train/normal/2.JPG", "sexy/3.jpg", "memes/4.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue())
    (tmp_path / "porn" / "5.jpg").write_bytes(stream.getvalue()[:100])
    rows, shown = skipping("lspd", tmp_path)
    assert {row.example.id: dict(row.example.labels) for row in rows} == {
        "lspd/porn/1.jpg": {"sexual": 1.0},
        "lspd/train/normal/2.JPG": {"sexual": 0.0},
        "lspd/sexy/3.jpg": {},
    }
    assert "memes/4.jpg: field 'class': unknown class 'memes'; expected one of porn, hentai" in shown[0]
    assert shown[1].startswith("porn/5.jpg: ")
