"""Hateful Memes: an image and its text; paths that lead elsewhere and images that are not there."""

import io
import json
import sys
from pathlib import Path

from PIL import Image

from gooseguard.core.content import Modality

sys.path.insert(0, str(Path(__file__).parent))
from published import skipping


def test_memes(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")
    folder = tmp_path / "memes"
    (folder / "img").mkdir(parents=True)
    (folder / "img" / "42953.png").write_bytes(stream.getvalue())
    (tmp_path / "secret.png").write_bytes(stream.getvalue())
    meme = {"id": 42953, "img": "img/42953.png", "label": 1, "text": "a caption"}
    rows = [meme, {**meme, "img": "img/1.png"}, {**meme, "img": "../secret.png"}, {**meme, "label": 3}]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "test_seen.jsonl").write_text(json.dumps({key: meme[key] for key in ("id", "img", "text")}))
    found, shown = skipping("hateful_memes", folder)
    test, train = found
    assert [part.modality for part in train.example.content.parts] == [Modality.IMAGE, Modality.TEXT]
    assert train.example.content.parts[0].origin == "img/42953.png"
    assert (train.example.id, dict(train.example.labels)) == ("hateful_memes/train/42953", {"hate": 1.0})
    assert (test.split, dict(test.example.labels)) == ("test_seen", {})
    assert [message.partition(";")[0] for message in shown] == [
        "train.jsonl, row 2: img/1.png: cannot be read (No such file or directory)",
        "train.jsonl, row 3: img is no path within the folder",
        "train.jsonl, row 4: field 'label': unknown class '3'",
    ]
