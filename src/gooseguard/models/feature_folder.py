"""What images became, in files named by the digests of their bytes: for runs that see an image many times."""

from __future__ import annotations

import hashlib
from threading import Lock
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gooseguard.core.errors import ConfigError
from gooseguard.core.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor


class FeatureFolder:
    """Keeps features on disk up to a number of bytes; what was kept stays. Safe for threads.

    Processes may share a folder. Each counts what was there when it began and what it wrote itself.
    """

    def __init__(self, folder: Path, made_by: str, max_bytes: int) -> None:
        """Keep features in `folder`.

        Args:
            folder: made when something is kept.
            made_by: digest of all but the image that features depend on: features of another are not read.
            max_bytes: of files, those of an earlier run with the same `made_by` included.
        """
        self._folder = folder / made_by[:16]
        self._max_bytes = max_bytes
        self._n_bytes = sum(path.stat().st_size for path in self._folder.glob("*/*.safetensors"))
        self._lock = Lock()

    def get(self, data: bytes, make: Callable[[bytes], Tensor]) -> Tensor:
        """Give what `make` made of these bytes, now or before; a damaged file is written again.

        Raises:
            ConfigError: the disk is full, or nothing can be written there.
        """
        key = hashlib.sha256(data).hexdigest()
        path = self._folder / key[:2] / f"{key}.safetensors"
        try:
            return load_file(path)["features"]
        except (FileNotFoundError, SafetensorError, KeyError):
            features = make(data)
        with self._lock:
            if self._n_bytes + features.nbytes > self._max_bytes:
                return features
            self._n_bytes += features.nbytes
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                save_file({"features": features.contiguous()}, partial)
        except (OSError, SafetensorError) as error:
            raise ConfigError(
                f"{self._folder}: features cannot be kept there ({type(error).__name__}); "
                "make room, or set keep_features_gb = 0"
            ) from None
        return features
