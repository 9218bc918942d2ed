"""Logs of requests: what is drawn has the shape that its name says, and a file comes back as it was."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from whet.agents.cache.traces import COLUMNS, KINDS, LogError, mixed, plain, read, scan, write, zipf


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_all_and_an_object_is_always_the_same(kind: str) -> None:
    one, same, other = (KINDS[kind](seed, 500) for seed in (3, 3, 4))
    assert all(np.array_equal(getattr(one, n), getattr(same, n)) for n in vars(one))
    assert not np.array_equal(one.sizes_bytes, other.sizes_bytes)
    assert len(one) == 500 and (np.diff(one.times_s) > 0).all()
    for array in (one.sizes_bytes, one.ttls_s, one.latencies_ms):
        assert len(set(zip(one.keys.tolist(), array.tolist(), strict=True))) == len(set(one.keys.tolist()))


def test_popularity_falls_by_a_power_of_the_rank() -> None:
    counts = np.bincount(zipf(0, 200_000, 50, 0.9).keys, minlength=50)
    slope = np.polyfit(np.log(np.arange(1, 51)), np.log(counts), 1)[0]
    assert slope == pytest.approx(-0.9, abs=0.03)


def test_a_sweep_asks_for_all_in_one_order() -> None:
    assert scan(0, 10, 4).keys.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_bursts_of_a_mixture_are_never_asked_for_again() -> None:
    trace, plainly = mixed(5, 1000, 60, 200), zipf(5, 1000)
    burst = trace.keys > plainly.keys.max()
    assert 240 <= burst.sum() <= 300 and len(set(trace.keys[burst].tolist())) == burst.sum()
    assert np.array_equal(trace.keys[~burst], plainly.keys[~burst])
    assert np.diff(np.flatnonzero(burst)).max() == 141


def test_a_file_comes_back_with_words_for_keys(tmp_path: Path) -> None:
    trace = mixed(0, 50)
    write(trace, tmp_path / "log.tsv")
    again = read(tmp_path / "log.tsv")
    assert again.next_uses() == trace.next_uses()
    assert all(np.array_equal(getattr(again, n), getattr(trace, n)) for n in vars(trace) if n != "keys")
    (tmp_path / "words.tsv").write_text(f"{COLUMNS}\n1\t/a\t5\tinf\t2\n2\t/b\t6\t9\t2.5\n2\t/a\t5\tinf\t2\n")
    words = read(tmp_path / "words.tsv")
    assert words.keys.tolist() == [0, 1, 0] and words.ttls_s.tolist() == [np.inf, 9, np.inf]


@pytest.mark.parametrize(
    "lines, message",
    [
        ("", "first line must be"),
        (COLUMNS, "holds no request"),
        (f"{COLUMNS}\n1\ta\t5\t9", "line 2: '1\\ta\\t5\\t9' is not"),
        (f"{COLUMNS}\n2\ta\t5\t9\t1\n1\ta\t5\t9\t1", "line 3: times must not fall"),
        (f"{COLUMNS}\n1\ta\t0\t9\t1", "line 2: times must not fall, sizes be above 0"),
        (f"{COLUMNS}\nnan\ta\t1\t9\t1", "line 2: times must not fall"),
    ],
)
def test_a_file_that_is_no_log(lines: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text(lines, encoding="utf-8")
    with pytest.raises(LogError, match=re.escape(message)):
        read(tmp_path / "log.tsv")
    with pytest.raises(LogError, match="does not exist"):
        read(tmp_path / "none.tsv")


def test_next_uses_by_hand() -> None:
    assert plain([7, 8, 7, 9, 8]).next_uses() == [2, 4, 5, 5, 5]
