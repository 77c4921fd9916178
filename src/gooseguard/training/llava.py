"""The stage Mod-LLaVA + conversations about images -> LoRA adapter in peft's layout; resumes as others do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from gooseguard.codec.image import prepare, read_frames, read_preprocessing
from gooseguard.codec.visual_layout import ImagePlace
from gooseguard.core.errors import ContentError, DataError
from gooseguard.core.files import new_folder
from gooseguard.core.manifest import canonical_json, digest_file
from gooseguard.data.llava import read_llava
from gooseguard.models.mod_llava import ADAPTER_FILE, load_llava
from gooseguard.models.vision import FeatureCache
from gooseguard.training.answer_loop import AnswerLoss, TuneSet, tune
from gooseguard.training.fine_tune import DTYPES
from gooseguard.training.resume import ResumePoints
from gooseguard.training.visual import check_images, divide_rows, shift_images
from gooseguard.training.visual_answers import digest_images, encode_visual, image_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gooseguard.codec.image import Preprocessing
    from gooseguard.models.mod_llava import LlavaTokenizer
    from gooseguard.training.llava_config import LlavaTuneConfig
    from gooseguard.training.loop import Reporter
    from gooseguard.training.processes import Processes
    from gooseguard.training.run import Say

TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""Every matrix of the language model; tower and projector stay as they are."""


class LlavaAnswerLoss(AnswerLoss):
    """LLaVA and the deltas beside it: padded conversations to the loss of their answers."""

    def __init__(self, llava: nn.Module, features: Callable[[int], Tensor], begin: int) -> None:
        """Take a model with peft's deltas, the rows of image n, (L, C), and the token that begins a text."""
        nn.Module.__init__(self)
        self.states, self.is_checkpointed = None, False
        self.llava: Any = llava
        self._features = features
        self._begin = begin

    def hidden(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Run conversations: int64 (B, T), below 0 for rows of images, to hidden, (B, T, C)."""
        spans = image_spans(tokens)
        embed = self.llava.get_input_embeddings()
        x = embed(tokens.clamp(min=0))
        for row, begin, end in spans:
            x[row, begin:end] = self._features(-1 - int(tokens[row, begin])).to(x)
        first = embed(tokens.new_full((len(tokens), 1), self._begin))
        places = torch.arange(tokens.shape[1] + 1, device=tokens.device)
        made = self.llava.get_base_model().model.language_model(
            inputs_embeds=torch.cat([first, x], 1),
            # One more: what begins the text.
            attention_mask=(places <= lengths.unsqueeze(-1)).long(),
            use_cache=False,
        )
        hidden: Tensor = made.last_hidden_state[:, 1:]
        return hidden

    def _loss(self, hidden: Tensor, wanted: Tensor) -> Tensor:
        logits = self.llava.get_output_embeddings()(hidden).float()
        return functional.cross_entropy(logits, wanted, reduction="sum")


def train_llava(
    config: LlavaTuneConfig,
    output: Path,
    tokenizer: LlavaTokenizer,
    report: Reporter,
    say: Say,
    processes: Processes,
) -> Path:
    """Train and write the adapter's folder `output`/adapter, for `--model`.

    Args:
        config: the recipe.
        output: folder of the run; what a resumed run needs lies in its `work`.
        tokenizer: the base's own, of `models.mod_llava.load_tokenizer`.
        report: told where training stands, after every step.
        say: told which phase begins.
        processes: who shares the work; each calls this with the same arguments.

    Raises:
        ArtefactError: the base is broken, or the run was begun with another recipe, base or other data.
        DataError: a row or an image is wrong, or none is left to learn from.
    """
    say("read base")
    base = Path(config.base)
    loaded, _ = load_llava(base, DTYPES[config.loop.precision])
    llava: Any = loaded
    preparation = read_preprocessing(base)
    tower = llava.config.vision_config
    has_class = llava.config.vision_feature_select_strategy == "full"
    n_row = (tower.image_size // tower.patch_size) ** 2 + has_class
    say("read conversations")
    sides = divide_rows(read_llava(Path(config.data), Path(config.images)), config.val_fraction)
    train, val = (
        encode_visual(side, tokenizer, ImagePlace.FIRST, n_row, config.loop.longest) for side in sides
    )
    if not len(train.rows):
        raise DataError(
            f"{config.data}: no training row is left ({len(sides[0])} read, {train.rows.n_too_long} longer "
            f"than loop.longest {config.loop.longest}, an image taking {n_row}); raise loop.longest"
        )
    images = [*train.images, *val.images]
    if config.check_images:
        say("check images")
        check_images(images)
    adapted = attach(llava, config.rank, config.alpha, config.loop.seed)
    loss = LlavaAnswerLoss(adapted, _features(adapted, images, preparation), tokenizer.begin)
    loss.to(processes.device)
    paths = {"base", "data", "images"}
    recipe = {key: value for key, value in asdict(config).items() if key not in paths}
    weights = sorted(base.glob("*.safetensors"))
    inputs = [digest_file(Path(config.data)), digest_images(images), *map(digest_file, weights)]
    fingerprint = hashlib.sha256(canonical_json([recipe, inputs]).encode()).hexdigest()
    say("fit")
    points = ResumePoints(output / "work" / "resume", fingerprint)
    shifted = shift_images(val, len(train.images))
    tune(loss, TuneSet(train.rows, shifted.rows), config.loop, points, report, processes)
    folder = output / "adapter"
    if processes.is_main:
        say("write")
        _write(adapted, base, folder)
    processes.wait()
    return folder


def attach(llava: nn.Module, rank: int, alpha: float, seed: int) -> Any:  # noqa: ANN401  (peft is not typed)
    """Put peft's deltas, zero at first and float32, beside the matrices of the language model."""
    deltas = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS, task_type="CAUSAL_LM")
    adapted: Any = get_peft_model(llava, deltas)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            if "lora_A" in name:
                # As `models/lora.py`; drawn here, since peft draws from the global generator.
                bound = parameter.shape[1] ** -0.5
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return adapted


def _features(llava: Any, images: Sequence[Path], preparation: Preprocessing) -> Callable[[int], Tensor]:  # noqa: ANN401  (as above)
    """Give what makes the rows of image n, (L, C): of an animation, its first frame."""
    cache, config = FeatureCache(), llava.config

    def make(data: bytes) -> Tensor:
        pixels = torch.from_numpy(prepare(next(read_frames(data)), preparation)).unsqueeze(0)
        with torch.no_grad():
            made = llava.get_base_model().get_image_features(
                pixel_values=pixels.to(llava.get_input_embeddings().weight.dtype),
                vision_feature_layer=config.vision_feature_layer,
                vision_feature_select_strategy=config.vision_feature_select_strategy,
            )
        rows: Tensor = made.pooler_output[0]
        return rows

    def features(number: int) -> Tensor:
        try:
            return cache.get(images[number].read_bytes(), make)
        except ContentError as error:
            raise DataError(f"{images[number]}: {error}; leave the row out, and begin again") from None

    return features


def _write(adapted: Any, base: Path, folder: Path) -> None:  # noqa: ANN401  (as above)
    """Write peft's folder; its config names the base's folder on this disk."""
    with new_folder(folder) as new:
        adapted.save_pretrained(str(new))
        path = new / ADAPTER_FILE
        table = json.loads(path.read_text("utf-8")) | {"base_model_name_or_path": str(base.resolve())}
        path.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", "utf-8")
