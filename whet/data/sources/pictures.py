"""Images as a network takes them: read, resized, cropped, and scaled as it was trained."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from whet.core.errors import TaskError
from whet.data.sources.scaling import Scaled
from whet.data.sources.source import Options

Raw = Path | bytes
BYTES = 255.0
GREY = ("L", "1", "I", "I;16")
"""What Pillow calls images of one channel."""
IN_MEMORY_BYTES = 2 << 30
"""Images that take no more are decoded once; more of them are decoded each time that they are read."""


@dataclass(frozen=True)
class Look:
    """How images are prepared: the shortest edge or both resized, the middle cut out, values scaled.

    `shape` is (channels, height, width); `mean` and `std` have one number a channel.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    shortest: int = 0
    resample: int = int(Image.Resampling.BILINEAR)
    scale: float = 1 / BYTES

    def read(self, raw: Raw) -> Tensor:
        """Return one image, a uint8 tensor of `shape`."""
        with Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw) as image:
            return torch.from_numpy(self._fitted(image.convert("L" if self.shape[0] == 1 else "RGB")))

    def _fitted(self, image: Image.Image) -> np.ndarray[Any, Any]:
        _, height, width = self.shape
        resample = Image.Resampling(self.resample)
        if self.shortest:
            ratio = self.shortest / min(image.size)
            image = image.resize((round(image.width * ratio), round(image.height * ratio)), resample)
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        elif image.size != (width, height):
            image = image.resize((width, height), resample)
        array = np.array(image, dtype=np.uint8)
        return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))

    @property
    def prepare(self) -> Scaled:
        """What makes images (N, C, H, W) of bytes floats: `(x / 255 - mean) / std`."""
        return Scaled(self.mean, self.std, self.scale)

    def __str__(self) -> str:
        return f"{f'shortest edge to {self.shortest}, middle cut out, ' if self.shortest else ''}{self.prepare}"


@dataclass(frozen=True)
class Decoded:
    """Images that are decoded when they are read."""

    raws: Sequence[Any]
    read: Callable[[Any], Tensor]

    def __len__(self) -> int:
        return len(self.raws)

    def __getitem__(self, rows: Any) -> Tensor:
        return torch.stack([self.read(self.raws[int(row)]) for row in rows])


def look_of(raws: Sequence[Raw], options: Options) -> Look:
    """Return how images are prepared: by what the user says, the network's own settings, or their own size.

    Raises: TaskError where they have several sizes and nothing says which is wanted.
    """
    own = settings_of(options.beside)
    mean = options.mean or _floats(own, "do_normalize", "image_mean")
    std = options.std or _floats(own, "do_normalize", "image_std")
    sizes, modes = _sizes(raws)
    grey = all(mode in GREY for mode in modes) and max(len(mean), len(std)) <= 1
    channels = options.size[0] if len(options.size) == 3 else 1 if grey else 3
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (0, 1, channels):
            raise TaskError(f"--{name} has {len(numbers)} numbers; the images have {channels} channels.")
    edges = options.size[-2:] * (2 if len(options.size) == 1 else 1)
    shortest, (height, width) = (0, edges) if edges else _wanted(own) or (0, _only(sizes))
    scale = float(own.get("rescale_factor", 1 / BYTES)) if own.get("do_rescale", True) else 1.0
    resample = int(own.get("resample", Image.Resampling.BILINEAR))
    return Look((channels, height, width), mean or (0.0,), std or (1.0,), shortest, resample, scale)


def _only(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """Return height and width of images that all have one size."""
    if len(sizes) > 1:
        several = ", ".join(f"{width}x{height} ({count})" for (width, height), count in sizes.most_common(4))
        raise TaskError(
            f"the images have {len(sizes)} sizes, width x height: {several}. Say which the network takes: "
            "--size 224x224."
        )
    width, height = next(iter(sizes))
    return height, width


def settings_of(folder: Path | None, name: str = "preprocessor_config.json") -> dict[str, Any]:
    """Return the settings in a file of the network's folder, or none."""
    path = None if folder is None else folder / name
    if path is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TaskError(f"'{path}' is no JSON: {error}") from None
    return found if isinstance(found, dict) else {}


def _floats(own: dict[str, Any], switch: str, key: str) -> tuple[float, ...]:
    found = own.get(key, ()) if own.get(switch, True) else ()
    return tuple(map(float, found if isinstance(found, list | tuple) else [found]))


def _wanted(own: dict[str, Any]) -> tuple[int, tuple[int, int]] | None:
    """Return the shortest edge to resize to, 0 to resize both, and (height, width); None where nothing is said."""
    size = own.get("size") if own.get("do_resize", True) else None
    crop = own.get("crop_size") if own.get("do_center_crop") else None
    if size is None and crop is None:
        return None
    if crop is None:
        return 0, _edges(size)
    return (0 if size is None else min(_edges(size))), _edges(crop)


def _edges(size: Any) -> tuple[int, int]:
    """Return height and width of a size as settings have it: a number, a pair, or a dictionary."""
    if isinstance(size, dict):
        size = (size["height"], size["width"]) if "height" in size else size["shortest_edge"]
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _sizes(raws: Sequence[Raw]) -> tuple[Counter[tuple[int, int]], Counter[str]]:
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    for raw in raws:
        with Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw) as image:
            sizes[image.size] += 1
            modes[image.mode] += 1
    return sizes, modes


def decoded(raws: Sequence[Raw], look: Look) -> Tensor | Decoded:
    """Return images as one uint8 tensor (N, C, H, W), or what decodes them when they are read, by what they take."""
    lazy = Decoded(raws, look.read)
    fits = len(raws) * int(np.prod(look.shape)) <= IN_MEMORY_BYTES
    return lazy[range(len(raws))] if fits and len(raws) else lazy


def why_unreadable(raw: Raw) -> str:
    """Return why an image cannot be read, or nothing; all of it is decoded, for files are often cut off."""
    try:
        with Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw) as image:
            image.load()
    except Exception as error:  # Pillow's readers raise whatever comes up in them
        text = str(error).splitlines()
        return "no image" if "cannot identify" in str(error) else text[0] if text else type(error).__name__
    return ""
