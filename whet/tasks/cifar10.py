"""`cifar10`: 32x32 colour images of ten classes, from JPEG bytes in two files."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from whet.core.errors import TaskError
from whet.core.task import Task, accuracy
from whet.networks.resnet import resnet
from whet.support.files import whole
from whet.tasks.bundle import Bundle, TensorBatches, cache_folder, data_folder
from whet.train.recipe import Recipe

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
HELD_BACK = 5000
"""Images of `test.npz` that the search may look at."""


def cifar10(data: Path | None = None) -> Bundle:
    """Return the task from `DATA/cifar10/{train,test}.npz`, with ResNet-20 and ResNet-44 as networks.

    The given weights were trained on all 50,000 training images: ResNet-20 knows 96.5 % of them and 88.8 % of others.
    A part of them held back for validation would flatter the original by eight points and no compressed network, so
    validation is one half of `test.npz`, drawn with a fixed seed, and the test data are its other 5,000 images.
    """
    folder = data_folder("cifar10", data, ("cifar10/train.npz", "cifar10/test.npz")) / "cifar10"
    images, labels = decoded(folder / "train.npz")
    others, other_labels = decoded(folder / "test.npz")
    # The file is sorted by class, so its halves are drawn, not cut.
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(0))
    others, other_labels = others[order], other_labels[order]
    some = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:512]
    task = Task(
        name="cifar10",
        train=TensorBatches(images, labels, 128, shuffle=True, augment=crop_and_flip, prepare=normalise),
        val=TensorBatches(others[:HELD_BACK], other_labels[:HELD_BACK], 500, prepare=normalise),
        test=TensorBatches(others[HELD_BACK:], other_labels[HELD_BACK:], 500, prepare=normalise),
        calibration=TensorBatches(images[some], labels[some], 128, prepare=normalise),
        loss=functional.cross_entropy,
        metric=accuracy,
    )
    return Bundle(
        task,
        {"resnet20": lambda: resnet(20), "resnet44": lambda: resnet(44)},
        (normalise(images[:2]),),
        # Without hints the teacher is remembered, and as many seconds are 1.5 times the steps. Every second block gone
        # and half of the inner channels, repaired: ResNet-44 comes from .650 to .716 in 21 steps, with hints to .615 in
        # 14 of them; ResNet-20 from .524 to .645 in 45, with hints to .592 in 30.
        recipe=Recipe(learning_rate=0.05),
        weights={n: folder / f"{n}.safetensors" for n in ("resnet20", "resnet44")},
    )


def normalise(images: Tensor) -> Tensor:
    """Return uint8 images `(N, 3, 32, 32)` as floats with the channel means taken off."""
    return (images.float() / 255.0 - MEAN) / DEVIATION


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to four pixels, the border filled with black, and mirror every other one.

    Images (N, 3, H, W), of the same shape after it.
    """
    count = len(images)
    windows = functional.pad(images, (4, 4, 4, 4)).unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
    dy, dx = (torch.randint(0, 9, (count,), generator=generator) for _ in range(2))
    shifted = windows[torch.arange(count), :, dy, dx]
    mirrored = torch.rand(count, generator=generator) < 0.5
    shifted[mirrored] = shifted[mirrored].flip(3)
    return shifted


def decoded(path: Path) -> tuple[Tensor, Tensor]:
    """Return images `(N, 3, 32, 32)` uint8 and labels of a file of JPEGs; decoded once, then read from the cache."""
    stamp = path.stat()
    cached = cache_folder() / f"cifar10-{path.stem}-{stamp.st_size}.npy"
    try:
        with np.load(path) as archive:
            labels = torch.from_numpy(archive["label"].astype(np.int64))
            images = np.load(cached) if cached.exists() else _decode(archive, cached)
    except (ValueError, KeyError, OSError, EOFError, BadZipFile, UnidentifiedImageError) as error:
        raise TaskError(f"'{path}' is truncated or has not the arrays jpeg, offset, label: {error}") from error
    if len(images) != len(labels):
        raise TaskError(f"'{path}' holds {len(images)} images but {len(labels)} labels.")
    return torch.from_numpy(images), labels


def _decode(archive: Any, cached: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    data, offset = archive["jpeg"], archive["offset"]
    images = np.empty((len(offset) - 1, 3, 32, 32), dtype=np.uint8)
    for i, (start, end) in enumerate(pairwise(offset)):
        with Image.open(io.BytesIO(data[start:end].tobytes())) as image:
            images[i] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    with whole(cached) as part:
        np.save(part, images)
    return images
