"""A fusion scorer of random weights, whose encoders make something of any bytes."""

import hashlib

import torch

from gooseguard.core.content import Modality, Part
from gooseguard.models.fusion import FusionConfig, make_fusion
from gooseguard.models.fusion_scorer import Encoder, FusionScorer

WIDTH = 4


def picture(data):
    return Part(Modality.IMAGE, data, "image/png")


def encode_bytes(part):
    """Give a row for every eighth byte, drawn from the digest of the bytes so far; none for nothing."""
    data = part.text.encode() if part.modality is Modality.TEXT else part.data
    seeds = [int(hashlib.sha256(data[:end]).hexdigest()[:8], 16) for end in range(1, len(data) + 1, 8)]
    rows = [torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows) if rows else torch.empty(0, WIDTH)


def make_scorer(kind, categories, seed=0, image=encode_bytes, digest="d", calibration=None, base_rates=None):
    modalities = (Modality.TEXT, Modality.IMAGE)
    config = FusionConfig(kind, dict.fromkeys(modalities, WIDTH), categories, width=8, n_head=2)
    head = make_fusion(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    encoders = {
        Modality.TEXT: Encoder(WIDTH, encode_bytes, digest),
        Modality.IMAGE: Encoder(WIDTH, image, digest),
    }
    return FusionScorer(head, encoders, calibration, ("en",), base_rates)
