"""The stage Mod-VisualRWKV + conversations about images -> model. The same call resumes a killed run.

Two recipes are the two stages of VisualRWKV: the projector alone, between a backbone and a tower that have
never met; then all of the model but the tower, or low-rank deltas of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gooseguard.codec.image import PREPROCESSOR_FILE, Preprocessing, prepare, read_frames
from gooseguard.codec.visual_layout import SETTINGS_FILE, VisualConfig, VisualSettings
from gooseguard.core.errors import ConfigError, ContentError, DataError
from gooseguard.core.manifest import Manifest, canonical_json, digest_file, open_artefact, write_manifest
from gooseguard.data.llava import VisualConversation, read_llava
from gooseguard.models.digest import digest_module
from gooseguard.models.feature_folder import FeatureFolder
from gooseguard.models.lora import attach_lora, attach_tower_lora, lora_layers, merged
from gooseguard.models.mod_visual_rwkv import VisualRwkv, load_visual
from gooseguard.models.official import has_sight, load_official, write_tensors
from gooseguard.models.vision import CACHE_BYTES, FeatureCache, load_tower
from gooseguard.training.answer_loop import Precision, TuneSet, tune
from gooseguard.training.card import environment
from gooseguard.training.fine_tune import DTYPES
from gooseguard.training.resume import ResumePoints
from gooseguard.training.visual_answers import VisualAnswerLoss, VisualRows, digest_images, encode_visual
from gooseguard.training.visual_config import Learn, VisualTuneConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gooseguard.codec.prompt import Encoder
    from gooseguard.training.loop import Reporter
    from gooseguard.training.processes import Processes
    from gooseguard.training.run import Say

MODEL_FILE = "model.safetensors"
"""What a finished run calls its weights."""

KIND, FORMAT_VERSION = "visual-model", 1
"""Of the folder's manifest."""


def train_visual(
    config: VisualTuneConfig,
    output: Path,
    tokenizer: Encoder,
    report: Reporter,
    say: Say,
    processes: Processes,
) -> Path:
    """Train and write the model's folder `output`/model, for `--model`.

    Args:
        config: the recipe.
        output: folder of the run; what a resumed run needs lies in its `work`.
        tokenizer: the backbone's vocabulary.
        report: told where training stands, after every step.
        say: told which phase begins.
        processes: who shares the work; each calls this with the same arguments.

    Raises:
        ArtefactError: base or tower are broken, or the run was begun with another recipe, base or other data.
        DataError: a row or an image is wrong, or none is left to learn from.
        ConfigError: base and recipe do not fit.
    """
    say("read base")
    visual, preparation, base = load_base(config)
    settings = visual.config.settings
    say("read conversations")
    conversations = read_llava(Path(config.data), Path(config.images))
    sides = divide_rows(conversations, config.val_fraction)
    n_row = visual.config.n_patch + 1
    train, val = (
        encode_visual(side, tokenizer, settings.image_place, n_row, config.loop.longest) for side in sides
    )
    if not len(train.rows):
        raise DataError(
            f"{config.data}: no training row is left ({len(sides[0])} read, {train.rows.n_too_long} longer "
            f"than loop.longest {config.loop.longest}, an image taking {n_row}); raise loop.longest"
        )
    largest = max(int(rows.rows.tokens.max(initial=0)) for rows in (train, val))
    if largest >= visual.config.rwkv.vocab_size:
        raise ConfigError(
            f"{config.base}: has {visual.config.rwkv.vocab_size} tokens, the vocabulary gave {largest}; "
            "expected the base's own vocabulary"
        )
    if config.check_images:
        say("check images")
        check_images([*train.images, *val.images])
    loss = make_loss(visual, preparation, config, (train, val), output / "work" / "features")
    loss.to(processes.device)
    recipe = describe(config)
    inputs = {
        "data": digest_file(Path(config.data)),
        "images": digest_images([*train.images, *val.images]),
        **base,
    }
    fingerprint = hashlib.sha256(canonical_json([recipe, inputs]).encode()).hexdigest()
    say("fit")
    points = ResumePoints(output / "work" / "resume", fingerprint)
    # Images of the validation rows follow those of the training rows.
    shifted = shift_images(val, len(train.images))
    facts = tune(loss, TuneSet(train.rows, shifted.rows), config.loop, points, report, processes)
    folder = output / "model"
    if processes.is_main:
        say("write")
        counts = {"train": len(train.rows), "val": len(val.rows)}
        counts["too_long"] = train.rows.n_too_long + val.rows.n_too_long
        facts = {"name": config.name, "rows": counts, "training": {**facts, **environment()}}
        write_visual(visual, preparation, folder, Manifest(KIND, FORMAT_VERSION, recipe, inputs, {}, facts))
    processes.wait()
    return folder


def load_base(config: VisualTuneConfig) -> tuple[VisualRwkv, Preprocessing, dict[str, str]]:
    """Load what is trained further, or join a backbone and a tower by a new projector.

    Returns:
        The model, how its tower wants images, and the digests of its files.

    Raises:
        ConfigError: the recipe names a tower beside a base that has one, or none beside one that has none.
        ArtefactError: a file is not what it should be.
    """
    path = Path(config.base)
    # What is learnt whole must be held in float32: steps are smaller than bfloat16 can tell.
    dtype = torch.float32 if config.learn is Learn.ALL else DTYPES[config.loop.precision]
    if path.is_dir() or has_sight(path):
        if config.tower:
            raise ConfigError(f"{path}: has a tower of its own; leave `tower` out of the recipe")
        visual, preparation, file = load_visual(path, dtype)
        # Stages may differ in where the image stands, as VisualRWKV's own do.
        settings = replace(
            visual.config.settings,
            image_place=config.image_place,
            grid=config.grid,
            is_reversed=config.is_reversed,
        )
        visual.config = replace(visual.config, settings=settings)
        _check_grid(visual.config)
        return visual, preparation, {"base": digest_file(file)}
    if not config.tower:
        raise ConfigError(
            f"{path}: is a backbone alone; expected `tower`, a CLIP model's folder, in the recipe"
        )
    tower, preparation = load_tower(Path(config.tower))
    rwkv = load_official(path, dtype=dtype)
    if rwkv.head is None:
        raise ConfigError(f"{path}: has no head.weight, and cannot answer; expected a language model")
    settings = VisualSettings(
        config.image_place,
        config.grid,
        config.is_reversed,
        tower.config.num_attention_heads,
        tower.config.hidden_act,
    )
    joined = VisualConfig(rwkv.config, tower.config, settings, config.is_gated)
    _check_grid(joined)
    visual = VisualRwkv(joined, rwkv, tower)
    initialise_projector(visual.proj, config.loop.seed)
    return visual.eval(), preparation, {"base": digest_file(path), "tower": _digest_tower(Path(config.tower))}


def _check_grid(config: VisualConfig) -> None:
    if config.settings.grid > config.tower.side:
        raise ConfigError(f"recipe: grid is {config.settings.grid}, expected at most {config.tower.side}")


def initialise_projector(proj: nn.Module, seed: int) -> None:
    """Draw the initial values of a projector, as `nn.Linear` draws its own: uniform within 1 / sqrt(in)."""
    generator = torch.Generator().manual_seed(seed)
    for module in proj.modules():
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)


def make_loss(
    visual: VisualRwkv,
    preparation: Preprocessing,
    config: VisualTuneConfig,
    sides: tuple[VisualRows, VisualRows],
    kept: Path,
) -> VisualAnswerLoss:
    """Say what is learnt, and where the features of an image come from; on disk they are in `kept`.

    The loss raises `DataError` for an image that cannot be read, and names its file.
    """
    visual.requires_grad_(requires_grad=False)
    if config.learn is Learn.LORA:
        attach_lora(visual.rwkv, config.lora, config.loop.seed)
    elif config.learn is Learn.ALL:
        visual.rwkv.requires_grad_(requires_grad=True)
    visual.proj.requires_grad_(requires_grad=True)
    if config.tower_rank:
        attach_tower_lora(visual.vit, config.tower_rank, config.loop.seed)
    images, cache = [path for rows in sides for path in rows.images], FeatureCache(CACHE_BYTES)
    folder = None
    if config.keep_features_gb:
        made_by = canonical_json([digest_module(visual.vit), asdict(preparation), config.grid])
        digest = hashlib.sha256(made_by.encode()).hexdigest()
        folder = FeatureFolder(kept, digest, round(config.keep_features_gb * 1e9))

    def pixels(data: bytes) -> Tensor:
        # Of an animation the first frame: one image stands for one in the words.
        return torch.from_numpy(prepare(next(read_frames(data)), preparation)).unsqueeze(0)

    def see(data: bytes) -> Tensor:
        with torch.no_grad():
            return visual.pool(visual.vit(pixels(data)))[0]

    def pooled(data: bytes) -> Tensor:
        return see(data) if folder is None else folder.get(data, see)

    def features(number: int) -> Tensor:
        try:
            data = images[number].read_bytes()
            if not config.tower_rank:
                return cache.get(data, pooled)
            # The tower changes: what is kept is what it is given.
            return visual.pool(visual.vit(cache.get(data, pixels)))[0]
        except ContentError as error:
            raise DataError(f"{images[number]}: {error}; leave the row out, and begin again") from None

    is_mixed = config.learn is Learn.ALL and config.loop.precision is Precision.BF16
    return VisualAnswerLoss(
        visual,
        features,
        is_checkpointed=config.loop.is_checkpointed,
        autocast=torch.bfloat16 if is_mixed else None,
    )


def check_images(images: Sequence[Path]) -> None:
    """Decode every image once.

    Raises:
        DataError: names the first twelve that cannot be, and counts them.
    """
    findings: list[str] = []
    for path in images:
        try:
            # The first frame: more is not read of an animation.
            next(read_frames(path.read_bytes()))
        except (ContentError, OSError) as error:
            findings.append(
                f"{path.name}: {error}" if isinstance(error, ContentError) else f"{path}: cannot be read"
            )
    if findings:
        rest = f"; and {len(findings) - 12} more" if len(findings) > 12 else ""
        raise DataError(f"{'; '.join(findings[:12])}{rest}; leave their rows out of the data")


def write_visual(visual: VisualRwkv, preparation: Preprocessing, folder: Path, manifest: Manifest) -> None:
    """Write a model's folder: weights under the published names, settings, preparation, manifest."""
    tensors = {name: tensor.detach().cpu() for name, tensor in visual.state_dict().items()}
    for name, layer in lora_layers(visual):
        first, second = (tensors.pop(f"{name}.lora_{kind}") for kind in "ab")
        tensors[f"{name}.weight"] = merged(tensors[f"{name}.weight"], first, second, layer.scale)
    tables = {
        SETTINGS_FILE: visual.config.settings.to_json(),
        PREPROCESSOR_FILE: {
            "size": {"shortest_edge": preparation.shortest_edge},
            "crop_size": {"height": preparation.crop, "width": preparation.crop},
            "image_mean": list(preparation.mean),
            "image_std": list(preparation.std),
        },
    }
    with open_artefact(folder, KIND) as partial:
        write_tensors(tensors, partial / MODEL_FILE)
        for name, table in tables.items():
            (partial / name).write_text(json.dumps(table, indent=1) + "\n", "utf-8")
        files = {name: digest_file(partial / name) for name in (MODEL_FILE, *tables)}
        write_manifest(partial, replace(manifest, files=files))


def describe(config: VisualTuneConfig) -> dict[str, Any]:
    """Give the recipe without where files lay: their digests say what was in them."""
    # Nor what is kept, which changes nothing.
    paths = {"base", "data", "images", "tower", "vocabulary", "keep_features_gb"}
    return {key: value for key, value in asdict(config).items() if key not in paths}


def divide_rows(
    rows: Sequence[VisualConversation], fraction: float
) -> tuple[list[VisualConversation], list[VisualConversation]]:
    """Divide rows in two by the digest of their words: equal ones fall on the same side."""
    sides: tuple[list[VisualConversation], list[VisualConversation]] = ([], [])
    for row in rows:
        words = canonical_json(
            [[turn.question, turn.answer, *(image.name for image in turn.images)] for turn in row.turns]
        )
        share = int(hashlib.sha256(words.encode()).hexdigest()[:8], 16) / 2**32
        sides[share < fraction].append(row)
    return sides


def shift_images(rows: VisualRows, n_image: int) -> VisualRows:
    """Number the images of rows on from `n_image`."""
    tokens = rows.rows.tokens.copy()
    tokens[tokens < 0] -= n_image
    own = rows.rows
    return VisualRows(type(own)(tokens, own.is_answer, own.offsets, own.n_too_long), rows.images)


def _digest_tower(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin"))
    return hashlib.sha256("\n".join(digest_file(path) for path in files).encode()).hexdigest()
