"""A front comes back from its folder as it was delivered, wherever the folder lies now."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quick import made, search, untimed

import whet
from whet.core.errors import ArtifactError, StudyError


def test_what_was_delivered_comes_back_and_runs(tmp_path: Path) -> None:
    with untimed():
        front = search(tmp_path / "r", passes=("quantize",))
    again = whet.load(tmp_path / "r")
    assert replace(again, bar_artifact=front.bar_artifact) == front
    assert again.bar_artifact == front.bar_artifact
    shutil.move(tmp_path / "r", tmp_path / "moved")
    moved = whet.load(tmp_path / "moved")
    assert moved.folder == tmp_path / "moved" and moved[0].delivered == str(tmp_path / "moved/front/0")
    x = next(iter(made()[1].val))[0]
    assert moved[0].session()(x.numpy()).shape == (32, 3)
    assert moved[0].save(tmp_path / "model").exists()
    assert "<table>" in moved._repr_html_() and moved.plot().data


def test_a_front_is_a_sequence_of_its_members(tmp_path: Path) -> None:
    with untimed():
        front = search(tmp_path / "r", passes=("quantize",))
    assert [*front] == [*front.members] and len(front) == len(front.members) and front[-1] is front.members[-1]
    with pytest.raises(IndexError):
        front[len(front)]
    pytest.importorskip("pandas")
    assert len(front.to_dataframe()) == len(front)


def test_what_was_not_delivered_has_no_session_and_no_study_no_front(tmp_path: Path) -> None:
    from test_delivered import MEMBER

    with pytest.raises(ArtifactError, match="was not delivered"):
        MEMBER.session()
    with pytest.raises(StudyError, match="holds no study"):
        whet.load(tmp_path)


def test_a_module_is_lifted_by_itself_and_progress_is_told_where_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, task = made()
    given = {"target": "onnxruntime-cpu", "max_drop": "30%", "epochs": 1.0, "trials": 1, "passes": ("quantize",)}
    with untimed():
        front = whet.optimize(net.module, task, out=tmp_path / "r", progress=False, **given)  # type: ignore[arg-type]
        assert capsys.readouterr().err == "" and len(front) > 0
        whet.optimize(net.module, task, out=tmp_path / "r", **given)  # type: ignore[arg-type]
    assert "delivering" in capsys.readouterr().err
    np.testing.assert_equal(whet.load(tmp_path / "r").reference, front.reference)
