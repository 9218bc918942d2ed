"""Faults beside a cache: whatever the other process does, the cache goes on within its limit, and as LRU does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from whet.agents.cache.client import Client
from whet.agents.cache.eviction import LRU, Coldest, Question, replay
from whet.agents.cache.messages import ANSWER, size_bytes, unpacked
from whet.agents.cache.store import Cache
from whet.agents.cache.traces import mixed

Reply = Callable[[socket.socket, bytes], None]
QUESTION = Question(np.zeros((3, 6), np.float32), np.array([2, 3, 4]), 4)
LIMIT_MS = 30.0
SLACK_MS = 300.0
"""What a loaded machine may add to a wait; a stall would be longer, since the slow process sleeps for seconds."""


@contextmanager
def process(path: Path, reply: Reply) -> Iterator[None]:
    """Stand in for a sidecar with a thread that reads whole questions and does with each what `reply` does."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    done = threading.Event()

    def answer() -> None:
        while not done.is_set():
            try:
                end = listening.accept()[0]
            except OSError:
                return
            with end:
                while data := end.recv(size_bytes(16)):
                    try:
                        reply(end, data)
                    except OSError:
                        break

    threading.Thread(target=answer, daemon=True).start()
    yield
    done.set()
    listening.close()


def with_mask(mask: int) -> Reply:
    return lambda end, data: end.sendall(ANSWER.pack(unpacked(data).number, mask))


def slow(end: socket.socket, data: bytes) -> None:
    time.sleep(3.0)
    end.sendall(ANSWER.pack(unpacked(data).number, 0b100))


def closed(end: socket.socket, data: bytes) -> None:
    end.shutdown(socket.SHUT_RDWR)
    raise OSError


FAULTS: dict[str, tuple[Reply, str]] = {
    "slow": (slow, "late"),
    "dead": (closed, "gone"),
    "nothing chosen": (with_mask(0), "bad"),
    "what is not there": (with_mask(1 << 40), "bad"),
    "another number": (lambda end, data: end.sendall(ANSWER.pack(99999, 1)), "bad"),
    "half an answer": (lambda end, data: end.sendall(b"\x01\x00"), "late"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_with_any_fault_the_cache_does_as_lru_within_the_limit(fault: str, tmp_path: Path) -> None:
    reply, outcome = FAULTS[fault]
    trace, cache = mixed(0, 120), Cache(300_000)
    with process(tmp_path / "s.sock", reply):
        client = Client(tmp_path / "s.sock", LIMIT_MS)
        found = replay(trace, cache, Coldest(cache, client, 16))
        client.close()
    assert found == replay(trace, Cache(300_000), LRU()) and found.evictions > 50
    assert client.outcomes["answered"] == 0 and client.outcomes[outcome] > 0
    assert max(client.latencies_us) < (LIMIT_MS + SLACK_MS) * 1e3
    assert sum(client.latencies_us) < 2e6


def test_a_slow_process_costs_one_limit_and_its_late_answer_is_not_taken_for_another(tmp_path: Path) -> None:
    go = threading.Event()

    def held_back(end: socket.socket, data: bytes) -> None:
        number = unpacked(data).number
        go.wait(10)
        end.sendall(ANSWER.pack(number, 0b100 if number > 1 else 0b111))

    with process(tmp_path / "s.sock", held_back):
        client = Client(tmp_path / "s.sock", LIMIT_MS)
        assert [client(QUESTION) for _ in range(20)] == [None] * 20
        assert client.outcomes["late"] == 1 and client.outcomes["busy"] == 19
        go.set()
        time.sleep(0.3)
        client.limit_s = 2.0
        assert client(QUESTION) == 0b100


def test_a_socket_that_is_gone_and_a_process_that_comes_back(tmp_path: Path) -> None:
    client = Client(tmp_path / "s.sock", 2000.0, retry_s=0.2)
    assert [client(QUESTION) for _ in range(3)] == [None] * 3 and client.outcomes["gone"] == 3
    with process(tmp_path / "s.sock", with_mask(0b100)):
        assert client(QUESTION) is None
        time.sleep(0.25)
        assert client(QUESTION) == 0b100
    client.close()


def test_a_process_that_reads_nothing_does_not_block_the_question(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.sock"))
        listening.listen(1)
        clients = [Client(tmp_path / "s.sock", LIMIT_MS) for _ in range(6)]
        began = time.perf_counter()
        assert [client(QUESTION) for client in clients] == [None] * 6
        assert time.perf_counter() - began < (6 * LIMIT_MS + SLACK_MS) / 1e3
        assert {name for client in clients for name, count in client.outcomes.items() if count} == {"late", "gone"}
