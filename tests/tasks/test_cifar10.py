"""CIFAR-10: given weights score what they are said to, crops keep pixels, damaged files are named."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from loaded import bundle
from PIL import Image

from whet.core.errors import TaskError
from whet.core.task import predict
from whet.tasks.cifar10 import DEVIATION, MEAN, crop_and_flip, decoded, normalise


def test_crops_keep_pixels_and_mirror_half() -> None:
    images = torch.arange(1, 1 + 200 * 3 * 32 * 32).remainder(251).to(torch.uint8).view(200, 3, 32, 32)
    out = crop_and_flip(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape and out.dtype == torch.uint8
    middle = images[:, :, 16, 16]
    found = sum(bool((o == m[:, None, None]).all(0).any()) for o, m in zip(out, middle, strict=True))
    assert found == 200, "the middle pixel is in every crop"


def test_given_resnet20_scores_what_it_is_said_to() -> None:
    b = bundle("cifar10")
    module, _ = b.trained("resnet20")
    scores = [b.task.score(*predict(module, part, 2000)) for part in (b.task.val, b.task.test)]
    spread = 4 * math.sqrt(0.8866 * (1 - 0.8866) / 4000)
    assert sum(scores) / 2 == pytest.approx(0.8866, abs=spread)
    assert len(b.task.val.targets) == len(b.task.test.targets) == 5000
    assert not np.array_equal(b.task.val.inputs[:50].numpy(), b.task.test.inputs[:50].numpy())


def test_the_mean_colour_is_zero_and_one_deviation_is_one() -> None:
    images = (MEAN * 255).expand(3, 1, 1)[None].round().to(torch.uint8)
    assert normalise(images).abs().max() < 0.02
    lighter = ((MEAN + DEVIATION) * 255)[None].round().to(torch.uint8)
    torch.testing.assert_close(normalise(lighter), torch.ones(1, 3, 1, 1), rtol=0, atol=0.02)


def jpegs(path: Path, count: int, labels: int) -> Path:
    """Write a file of grey images, the first the darkest."""
    parts = []
    for i in range(count):
        buffer = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), 40 * i, np.uint8)).save(buffer, "JPEG")
        parts.append(buffer.getvalue())
    data = np.frombuffer(b"".join(parts), np.uint8)
    offset = np.cumsum([0, *map(len, parts)])
    np.savez(path, jpeg=data, offset=offset, label=np.arange(labels))
    return path


def test_a_file_is_decoded_once_and_read_from_the_cache_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    path = jpegs(tmp_path / "train.npz", 3, 3)
    images, labels = decoded(path)
    assert images.shape == (3, 3, 32, 32) and labels.tolist() == [0, 1, 2]
    assert [int(i.float().mean().round()) for i in images] == [0, 40, 80]
    monkeypatch.setattr("whet.tasks.cifar10._decode", lambda *given: pytest.fail("decoded again"))
    assert torch.equal(decoded(path)[0], images)


def test_images_without_labels_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    with pytest.raises(TaskError, match="holds 3 images but 2 labels"):
        decoded(jpegs(tmp_path / "train.npz", 3, 2))
