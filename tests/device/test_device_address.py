"""Addresses, tokens, and how long a device is waited for: what is understood, and what is said of the rest."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from whet.device import address as module
from whet.device.address import Address, DeviceError, address, made_token, read_token, token_file, use, wait_seconds


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("device://192.168.1.20:8101", Address("192.168.1.20", 8101)),
        ("device://board", Address("board", 8100)),
        ("device://[fe80::1]:9", Address("fe80::1", 9)),
    ],
)
def test_an_address_is_a_host_and_a_port(words: str, found: Address) -> None:
    assert address(words) == found
    assert address(str(found)) == found


@pytest.mark.parametrize(
    "words",
    ["device://", "device://:8100", "http://a:1", "device://a:99999", "device://a:x", "device://a:0", "device://a/b/c",
     "device://[::1", "device://u:p@a:1", "device://a?x=1", "device:a"],
)  # fmt: skip
def test_what_is_no_address_is_told_with_what_one_is(words: str) -> None:
    with pytest.raises(DeviceError, match=r"device://|from 1 to 65535"):
        address(words)


def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    assert made_token(path)
    first = read_token(path)
    assert not made_token(path) and read_token(path) == first and len(first) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(DeviceError, match="open to other users: `chmod 600"):
        read_token(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"short", "at least 16"), (b"two words of more than 16", "one word"), ("é".encode(), "ASCII")],
)
def test_a_file_without_a_token_is_refused_and_its_content_not_told(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(DeviceError, match=said) as raised:
        read_token(path)
    assert content.decode() not in str(raised.value)
    with pytest.raises(DeviceError, match="cannot be read: No such file"):
        read_token(tmp_path / "missing")


def test_options_reach_targets_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(DeviceError, match=f"--token-file FILE, or set {module.TOKEN_FILE}"):
        token_file()
    assert wait_seconds() == module.WAIT_SECONDS
    use(tmp_path / "token", 90.0)
    assert (token_file(), wait_seconds()) == (tmp_path / "token", 90.0)
    use(None, 0.0)
    assert wait_seconds() == 0.0
    for words in ("soon", "-1", "inf", "nan"):
        os.environ[module.WAIT] = words
        with pytest.raises(DeviceError, match=f"got '{words}'"):
            wait_seconds()
