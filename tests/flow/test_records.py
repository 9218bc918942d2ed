"""Records outside of the folder: found again by the name that the folder keeps, and copied into it in the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from storage_proxy import proxied
from test_resume import made

from whet.core.errors import StudyError
from whet.flow.folder import recorded
from whet.flow.optimize import optimize

MODULE = sys.modules["whet.flow.optimize"]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("grpc", reason="a proxy of a record needs grpcio")
    with proxied(tmp_path / "server.db") as found:
        yield found


def begun(out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    monkeypatch.setattr(MODULE, "_search", lambda evaluator, plan: None)
    monkeypatch.setattr(MODULE, "deliver", lambda evaluator: evaluator)
    return optimize(*made(), out=out, max_drop="1%", budget="9s", **options)


def test_the_record_is_found_again_copied_into_the_folder_and_left_alone_by_another(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path / "a", monkeypatch, storage=address).study.remember("here", 1)
    assert begun(tmp_path / "b", monkeypatch, storage=address).study.recall("here") is None
    assert begun(tmp_path / "a", monkeypatch, storage=address).study.recall("here") == 1
    assert recorded(tmp_path / "a", "here") == 1
    name = (tmp_path / "a" / ".whet" / "study").read_text()
    assert begun(tmp_path / "a", monkeypatch, storage=address, restart=True).study.recall("here") is None
    assert (tmp_path / "a" / ".whet" / "study").read_text() != name


def test_a_wrong_address_is_refused_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudyError, match="did you mean postgresql://USER@HOST/NAME"):
        begun(tmp_path / "a", monkeypatch, storage="postgres://me@box/whet")
    assert not (tmp_path / "a").exists()
