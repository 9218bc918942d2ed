"""Storages by their address."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_proxy import proxied

from whet.core.errors import StudyError
from whet.core.space import Space
from whet.core.study import Study
from whet.support import storage
from whet.support.storage import check_address, failing, shown


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("grpc", reason="a proxy of a record needs grpcio")
    with proxied(tmp_path / "server.db") as address:
        yield address


@pytest.mark.parametrize(
    "address", ["sqlite:///a.db", "postgresql://u@h/d", "postgresql+psycopg://u@h/d", "mysql://u@h/d", "grpc://h:1"]
)
def test_what_optuna_opens_is_an_address(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address, near",
    [
        ("postgres://u:secret@h/d", "postgresql://USER@HOST/NAME"), ("grpc://h", "grpc://HOST:PORT"),
        ("mysq://u@h/d", "mysql://USER@HOST/NAME"), ("study.db", None), ("redis://h", None), ("sqlite3:///x", None),
    ],
)  # fmt: skip
def test_anything_else_names_the_nearest_form_and_no_password(address: str, near: str | None) -> None:
    with pytest.raises(ValueError) as told:
        check_address(address)
    said = str(told.value)
    assert "secret" not in said and said.startswith(f"storage '{shown(address)}'")
    if near is not None:
        assert f"did you mean {near}?" in said


def test_only_what_a_storage_raises_becomes_the_error() -> None:
    said = r"^study 'mysql://u:\*\*\*@h/d' cannot be read: lost\. Is the address right"
    with pytest.raises(StudyError, match=said), failing("mysql://u:p@h/d", "read", StudyError):
        raise ConnectionError("lost\nmore")
    with pytest.raises(ZeroDivisionError), failing("sqlite:///x", "read", StudyError):
        raise ZeroDivisionError


def test_a_driver_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match=r"needs its driver: pip install 'psycopg\[binary\]'\.$"):
        Study("postgresql://nobody@127.0.0.1:1/none", {}, Space())
    with (
        pytest.raises(StudyError, match=r"needs its driver: pip install 'pg8000x'\.$"),
        failing("postgresql+pg8000x://u@h/d", "opened", StudyError),
    ):
        raise ImportError("No module named 'pg8000x'")


def test_a_storage_that_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    monkeypatch.setattr(storage, "CONNECT_SECONDS", 0.2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"grpc://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(StudyError, match=rf"^study '{address}' cannot be opened: [^\n]*\. Is the address right"):
        Study(address, {}, Space())
    with pytest.raises(StudyError, match="cannot be opened"):
        Study("postgresql://nobody@127.0.0.1:1/none", {}, Space())


def test_a_study_behind_a_proxy_is_the_same_study_for_two_processes(proxy: str) -> None:
    first, second = (Study(proxy, {"seed": 1}, Space(), name="whet a 1") for _ in range(2))
    first.remember("bar", 2.5)
    assert second.recall("bar") == 2.5
    with pytest.raises(StudyError, match="seed was 1, now 2"):
        Study(proxy, {"seed": 2}, Space(), name="whet a 1")
    assert Study(proxy, {"seed": 2}, Space(), name="whet b 2").recall("bar") is None
