"""Makes the folder `saved_to_disk` beside it, with Hugging Face `datasets` itself (5.2.0 made what is there).

pip install datasets pillow; python saved_to_disk.py
"""

import io
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Picture

FOLDER = Path(__file__).with_suffix("")


def picture(colour):
    stream = io.BytesIO()
    Picture.new("RGB", (8, 8), colour).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def main():
    features = Features(
        {"text": Value("string"), "image": Image(), "label": ClassLabel(names=["none", "hate"])}
    )
    rows = {
        "train": {
            "text": ["you <slur>", "hello"],
            "image": [picture("red"), picture("blue")],
            "label": [1, 0],
        },
        "test": {"text": [""], "image": [picture("green")], "label": [-1]},
    }
    made = DatasetDict({split: Dataset.from_dict(columns, features) for split, columns in rows.items()})
    made.save_to_disk(FOLDER)


if __name__ == "__main__":
    main()
