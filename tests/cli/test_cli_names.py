"""A network's name that is misspelt is told with the nearest, anything else goes on to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.cli.names import refuse_misspelt
from whet.core.errors import LiftError

OWN = ("resnet20", "resnet44")


def test_the_nearest_is_named_and_what_the_task_has() -> None:
    with pytest.raises(LiftError, match=r"'resent20'; did you mean 'resnet20'\? Task 'cifar10' has resnet20, "):
        refuse_misspelt("resent20", OWN, "cifar10")
    with pytest.raises(LiftError, match="did you mean 'mobilenetv2'"):
        refuse_misspelt("mobilenet-v2(width=1)", OWN, "cifar10")
    with pytest.raises(LiftError, match=r"no network 'nosuch'\. Task"):
        refuse_misspelt("nosuch", OWN, "cifar10")


@pytest.mark.parametrize("words", ["absent.onnx", "net.py:build", "folder/net", "weights.pth"])
def test_files_are_read_by_others(words: str) -> None:
    refuse_misspelt(words, OWN, "cifar10")


def test_so_is_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").mkdir()
    refuse_misspelt("bert", OWN, "cifar10")
