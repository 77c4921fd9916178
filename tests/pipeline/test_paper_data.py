"""The paper's recipe: four sets in their published layouts to pairs, in our shards and in LLaVA's JSON.

Videos are whole MP4 containers without pictures: no codec is at hand, and no step of these looks into them.
"""

import csv
import gzip
import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
from PIL import Image

from gooseguard.cli.main import create_app, run_app
from gooseguard.data.llava import read_llava
from gooseguard.data.plans import read_plan
from gooseguard.data.shards import read_dataset_manifest, read_split

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
RECIPES = TESTS.parent / "recipes"


def _load(path):
    spec = importlib.util.spec_from_file_location(f"{path.stem}_parts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


texts = _load(TESTS / "data" / "test_pipeline.py")
media = _load(TESTS / "data" / "sources" / "test_media_files.py")

# The columns of train.csv, some identities and reactions left out.
CIVIL = [
    "id", "target", "comment_text", "severe_toxicity", "obscene", "identity_attack", "insult", "threat",
    "asian", "female", "homosexual_gay_or_lesbian", "created_date", "rating", "likes", "sexual_explicit",
    "identity_annotator_count", "toxicity_annotator_count",
]  # fmt: skip
N_CIVIL, N_OIG, N_IMAGES, N_VIDEOS = 240, 60, 30, 8


def write_civil_comments(folder):
    """Comments of which a third is toxic, one with a line end in it, and a few that say the same."""
    folder.mkdir(parents=True)
    made = texts.make_texts(N_CIVIL - 5)
    made += [text.upper() for text in made[:5]]
    made[24] = made[24].replace(" ", ",\n", 1)
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(CIVIL)
        for number, text in enumerate(made):
            rude = "0.8" if number % 3 == 0 else "0.0"
            threat = "0.9" if number % 24 == 0 else "0.0"
            writer.writerow(
                [number, rude, text, "0.0", rude, "0.0", rude, threat, "", "", "", "2016-01-01", "approved",
                 "0", "0.0", "0", "10"]
            )  # fmt: skip


def write_oig_moderation(folder):
    folder.mkdir(parents=True)
    tags = (["sexual content"], ["crime request", "needs caution"], ["harmless"])
    lines = [
        json.dumps(
            {
                "text": f"User: {text}\nAssistant: {text[::-1]}",
                "metadata": {"labels": tags[number % 3], "source": "prosocial"},
            }
        )
        for number, text in enumerate(texts.make_texts(N_OIG, seed=5))
    ]
    (folder / "OIG_safety_v0.2.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def write_lspd(folder):
    """Images of which no two look alike; one cannot be read."""
    generator = np.random.default_rng(0)
    for number in range(N_IMAGES):
        path = folder / ("porn", "normal", "drawing")[number % 3] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(path)
    (folder / "porn" / "cut.jpg").write_bytes((folder / "porn" / "0.jpg").read_bytes()[:200])


def write_real_life_violence(folder):
    """Each video twice, as in the archive; one of zero length."""
    for outer in ("", "real life violence situations/"):
        inner = folder / f"{outer}Real Life Violence Dataset"
        for number in range(N_VIDEOS):
            kind, stem = (("Violence", "V"), ("NonViolence", "NV"))[number % 2]
            path = inner / kind / f"{stem}_{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(media.mp4(1000 + number))
    (folder / "Real Life Violence Dataset" / "Violence" / "V_99.mp4").write_bytes(media.mp4(0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    write_civil_comments(folder / "downloads" / "civil_comments")
    write_oig_moderation(folder / "downloads" / "oig_moderation")
    write_lspd(folder / "downloads" / "lspd")
    write_real_life_violence(folder / "downloads" / "real_life_violence")
    arguments = [
        *("data", "build", str(RECIPES / "data-paper.toml"), "--set", f"root={folder / 'downloads'}"),
        *("--output", str(folder / "set"), "--workers", "2"),
    ]  # fmt: skip
    assert run_app(create_app(), arguments) == 0
    return folder / "set"


def test_every_row_of_the_four_sets_is_there_or_counted(dataset):
    facts = read_dataset_manifest(dataset).facts
    assert facts["sets_read"] == {
        "civil_comments": N_CIVIL, "oig_moderation": N_OIG, "lspd": N_IMAGES, "real_life_violence": N_VIDEOS,
    }  # fmt: skip
    assert facts["dropped"] == {"merged": 5}
    assert facts["skipped"]["lspd"]["faults"] == {"porn/cut.jpg": 1}
    assert facts["skipped"]["real_life_violence"]["faults"] == {
        "Real Life Violence Dataset/Violence/V_99.mp4": 1
    }
    rows = [row for split in ("train", "val", "test") for row in read_split(dataset, split)]
    assert len(rows) == N_CIVIL - 5 + N_OIG + N_IMAGES + N_VIDEOS
    modalities = Counter(part.modality for row in rows for part in row.example.content.parts)
    assert modalities == {"text": N_CIVIL - 5 + N_OIG, "image": N_IMAGES, "video": N_VIDEOS}
    [first] = [row for row in rows if row.example.id == "civil_comments/24"]
    assert ",\n" in first.example.content.parts[0].text
    assert dict(first.example.labels)["threat"] == pytest.approx(0.9)
    assert set(first.vote_counts.values()) == {10}


def test_original_and_balanced_come_of_one_build(dataset):
    plans = read_dataset_manifest(dataset).facts["plans"]
    train = list(read_split(dataset, "train"))
    assert plans["original"]["rows"] == len(train)
    positive = [any(value >= 0.5 for value in row.example.annotated.values()) for row in train]
    assert 0.25 < sum(positive) / len(positive) < 0.45
    # One without a positive label for each with one, at most; and floors that so few rows cannot reach.
    assert plans["balanced"]["rows"] != len(train)
    assert set(plans["balanced"]["floors_not_reached"]) == {"sexual", "violence", "threat", "self-harm"}


def test_pairs_of_texts_and_images_come_out_in_both_forms(dataset, tmp_path, capfd):
    arguments = [
        *("data", "instruct", str(RECIPES / "instruct.toml"), "--set", f"data={dataset}"),
        *("--output", str(tmp_path / "pairs"), "--json"),
    ]  # fmt: skip
    assert run_app(create_app(), arguments) == 0
    facts = json.loads(capfd.readouterr().out)["facts"]
    rows = {row.example.id: row for split in ("train", "val") for row in read_split(dataset, split)}
    shard = gzip.decompress((tmp_path / "pairs" / "train-00000.jsonl.gz").read_bytes()).decode()
    pairs = [json.loads(line) for line in shard.splitlines()]
    assert len(pairs) == facts["pairs"]["train"] > 200
    kinds = Counter()
    for pair in pairs:
        row = rows[pair["id"].partition("#")[0]]
        kinds[pair["media"][0]["modality"] if pair["media"] else "text"] += 1
        # What is flagged is what the labels say, of what was asked.
        sure = {name for name, value in row.example.annotated.items() if value >= 0.6}
        assert set(pair["flagged"]) == sure & set(pair["asked"])
        assert [message["role"] for message in pair["messages"]] == ["system", "user", "assistant"]
    assert set(kinds) == {"text", "image", "video"}
    assert not any("~" in pair["id"] for pair in pairs)
    # LLaVA's form has no place for video; images are found from the dataset's folder.
    read = read_llava(tmp_path / "pairs" / "llava-train.json", dataset)
    assert len(read) == facts["llava_rows"]["train"] == len(pairs) - kinds["video"]
    images = [turn.images for conversation in read for turn in conversation.turns if turn.images]
    assert len(images) == kinds["image"]
    for [path] in images:
        Image.open(path).load()


def test_pairs_of_the_balanced_plan_are_one_flag_away(dataset, tmp_path, capfd):
    arguments = [
        *("data", "instruct", str(RECIPES / "instruct.toml"), "--set", f"data={dataset}"),
        *("--set", "plan=balanced", "--output", str(tmp_path / "pairs"), "--json"),
    ]  # fmt: skip
    assert run_app(create_app(), arguments) == 0
    facts = json.loads(capfd.readouterr().out)["facts"]
    shard = gzip.decompress((tmp_path / "pairs" / "train-00000.jsonl.gz").read_bytes()).decode()
    ids = [json.loads(line)["id"] for line in shard.splitlines()]
    assert len(set(ids)) == len(ids) == facts["pairs"]["train"]
    # Each row as often as the plan draws it; rows of train that it leaves out are not asked about.
    plan = read_plan(dataset, "balanced", read_dataset_manifest(dataset).files)
    rows = [row.example.id for row in read_split(dataset, "train")]
    drawn = Counter(rows[place] for place in plan.tolist())
    asked = Counter(pair_id.partition("#")[0].partition("~")[0] for pair_id in ids)
    assert set(asked) <= set(drawn) < set(rows)
    assert max(drawn.values()) == 4
    assert all(count == drawn[row_id] for row_id, count in asked.items())
