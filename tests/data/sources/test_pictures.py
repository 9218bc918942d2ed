from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from whet.core.errors import TaskError
from whet.data.sources import pictures
from whet.data.sources.pictures import Decoded, Look, decoded, look_of, why_unreadable
from whet.data.sources.source import Options


def image(width: int, height: int, mode: str = "RGB") -> bytes:
    """A picture whose left half is black and whose right half is white."""
    array = np.zeros((height, width), np.uint8)
    array[:, width // 2 :] = 255
    into = io.BytesIO()
    Image.fromarray(array).convert(mode).save(into, "PNG")
    return into.getvalue()


def test_images_of_one_size_are_taken_as_they_are() -> None:
    look = look_of([image(6, 4)], Options())
    assert look.shape == (3, 4, 6) and look.read(image(6, 4))[0, 0].tolist() == [0, 0, 0, 255, 255, 255]
    assert look_of([image(6, 4, "L")], Options()).shape == (1, 4, 6)
    assert look_of([image(6, 4, "L")], Options(size=(3, 4, 6))).shape == (3, 4, 6)
    assert look_of([image(6, 4, "L")], Options(mean=(0.1, 0.2, 0.3))).shape == (3, 4, 6)


def test_several_sizes_need_one_that_is_named() -> None:
    raws = [image(6, 4), image(9, 9)]
    with pytest.raises(TaskError, match=r"2 sizes.*6x4 \(1\).*--size"):
        look_of(raws, Options())
    assert [tuple(look_of(raws, Options(size=size)).read(raws[0]).shape) for size in ((5,), (5, 7))] == [
        (3, 5, 5), (3, 5, 7),
    ]  # fmt: skip


def test_the_settings_beside_the_network_are_followed(tmp_path: Path) -> None:
    own = {
        "do_resize": True, "size": {"shortest_edge": 8}, "do_center_crop": True, "crop_size": {"height": 6, "width": 6},
        "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "resample": 3,
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(own))
    look = look_of([image(24, 12), image(9, 9)], Options(beside=tmp_path))
    assert look.shape == (3, 6, 6) and look.shortest == 8 and look.resample == 3
    read = look.read(image(24, 12))  # 16x8 after resizing, of which columns 5 to 10 stay
    assert read.shape == (3, 6, 6) and (read[0, 0] > 128).tolist() == [False] * 3 + [True] * 3
    assert torch.allclose(look.prepare(torch.full((1, 3, 6, 6), 255.0)), torch.full((1, 3, 6, 6), 2.0))
    said = look_of([image(24, 12)], Options(beside=tmp_path, size=(4,), mean=(0.0,), std=(1.0,)))
    assert said.shape == (3, 4, 4) and said.mean == (0.0,), "what the user says counts"


def test_more_images_than_memory_has_room_for_are_decoded_when_read(monkeypatch: pytest.MonkeyPatch) -> None:
    raws, look = [image(6, 4), image(4, 6)], Look((3, 4, 4))
    whole = decoded(raws, look)
    monkeypatch.setattr(pictures, "IN_MEMORY_BYTES", 10)
    lazy = decoded(raws, look)
    assert isinstance(whole, torch.Tensor) and isinstance(lazy, Decoded) and len(lazy) == 2
    assert torch.equal(lazy[torch.tensor([1, 0])], whole[[1, 0]])


def test_means_for_other_channels_and_broken_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="--std has 2 numbers; the images have 3 channels"):
        look_of([image(4, 4)], Options(std=(1.0, 1.0)))
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(TaskError, match="is no JSON"):
        look_of([image(4, 4)], Options(beside=tmp_path))


def test_a_cut_off_image_is_told_from_no_image() -> None:
    assert not why_unreadable(image(40, 40))
    assert "truncated" in why_unreadable(image(40, 40)[:-30]) and why_unreadable(b"text") == "no image"
