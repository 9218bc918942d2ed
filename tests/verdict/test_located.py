"""A path is a file with the settings that it may be served in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from files import SETTINGS, network, saved

from whet.core.errors import ArtifactError, TargetError
from whet.hardware.targets import get
from whet.verdict.located import located, name_of, raced, read_settings, settled


def test_a_file_alone_may_be_served_in_every_setting_and_a_delivered_one_as_measured(tmp_path: Path) -> None:
    target = get("cpu")
    path = saved(tmp_path / "alone", network())
    alone = located(path, target)
    assert list(alone.settings) == target.all_settings() and alone.batch is None
    delivered = saved(tmp_path / "front", network(), settings=SETTINGS)
    for words in (delivered, tmp_path / "front", str(delivered)):
        found = located(words, target)
        assert (found.path, found.settings, found.batch) == (delivered, (SETTINGS,), 1)
    assert located(delivered, target, threads=2).settings == ({**SETTINGS, "threads": 2},)
    assert len(located(delivered, target, own=False).settings) == len(target.all_settings())
    only = settled(alone, SETTINGS)
    assert only.settings == (SETTINGS,) and name_of(only) == "onnxruntime/f32/1"


def test_what_is_no_file_or_no_settings_is_refused(tmp_path: Path) -> None:
    target = get("cpu")
    saved(tmp_path / "r" / "front" / "0", network())
    others = ("absent", "does not exist: give"), ("r", r"is a study: give one file of its front, e.g. '.*front/0'")
    for words, message in (("net.pt2", "is no model file"), ("absent.onnx", "does not exist"), *others):
        with pytest.raises(ArtifactError, match=message):
            located(tmp_path / words, target)
    with pytest.raises(ArtifactError, match=r"model\.onnx' does not exist"):
        located(tmp_path, target)
    with pytest.raises(ArtifactError, match="is no delivered network"):
        read_settings(tmp_path)
    for text, message in (("{", "is damaged"), (json.dumps({"runtime": "openvino"}), "lacks precision, threads")):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(ArtifactError, match=message):
            read_settings(tmp_path)


@pytest.mark.alone
def test_files_are_raced_in_all_their_settings_against_one_of_them(tmp_path: Path) -> None:
    target = get("onnxruntime-cpu")
    small, large = (located(saved(tmp_path / str(w), network(w)), target) for w in (16, 30_000))
    inputs = {"small": small.inputs(4), "large": large.inputs(4)}
    assert [a.shape for a in inputs["small"].values()] == [(4, 8)]
    found = raced({"small": small, "large": large}, target, inputs, "large", 0.5)
    assert found.bar == "large" and found.latencies["small"].ratio > 2
    assert found.settings["small"] in small.settings
    inputs["small"] = small.inputs(2)
    with pytest.raises(TargetError, match=r"takes inputs of \[\(2, 8\)\], .* of \[\(4, 8\)\]"):
        raced({"small": small, "large": large}, target, inputs, "large", 0.5)
