"""The process beside a cache: what it answers, and that it lives through what it is sent."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from scorers import write_scorer

from whet.agents.cache.client import Client
from whet.agents.cache.eviction import Question
from whet.agents.cache.messages import ANSWER, Numbered, packed
from whet.agents.cache.sidecar import answered, scores_of_file, serve, started
from whet.core.errors import TargetError

QUESTION = Question(np.arange(18, dtype=np.float32).reshape(3, 6), np.array([2, 3, 4]), 4)


def test_the_mask_is_of_the_highest_score() -> None:
    for scores, mask in (([1, 2, 3], 0b100), ([1, 3, 2], 0b010), ([9, 3, 2], 0b001)):
        data = answered(packed(Numbered(7, QUESTION)), lambda features, s=scores: np.array(s))  # type: ignore[misc]
        assert ANSWER.unpack(data) == (7, mask)


@pytest.mark.parametrize("scores", [[1, np.nan, 2], [1, np.inf, 2], [1, 2]])
def test_scores_that_are_none_get_no_mask(scores: list[float]) -> None:
    assert ANSWER.unpack(answered(packed(Numbered(7, QUESTION)), lambda features: np.array(scores))) == (7, 0)


def test_a_file_gives_its_scores(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32)
    found = scores_of_file(write_scorer(tmp_path / "model.onnx", weight, 3))(QUESTION.features)
    assert np.array_equal(found, QUESTION.features @ weight)


def test_it_lives_through_connections_that_send_rubbish_or_in_pieces(tmp_path: Path) -> None:
    path, ready = tmp_path / "s.sock", threading.Event()
    path.touch()
    threading.Thread(target=serve, args=(lambda f: f[:, 0], path, ready.set), daemon=True).start()
    assert ready.wait(5)
    with socket.socket(socket.AF_UNIX) as rubbish, socket.socket(socket.AF_UNIX) as pieces:
        rubbish.connect(str(path))
        rubbish.sendall(b"\xff" * 100)
        assert rubbish.recv(10) == b""
        pieces.connect(str(path))
        data = packed(Numbered(3, QUESTION))
        for part in (data[:5], data[5:40], data[40:] + data[:20]):
            pieces.sendall(part)
        assert ANSWER.unpack(pieces.recv(ANSWER.size)) == (3, 0b100)
    assert Client(path, limit_ms=2000)(QUESTION) == 0b100


def test_the_process_says_when_it_is_ready_and_loads_no_torch(tmp_path: Path) -> None:
    model = write_scorer(tmp_path / "model.onnx", -np.ones(6, np.float32), 3)
    with started(model, tmp_path / "s.sock"):
        assert Client(tmp_path / "s.sock", limit_ms=5000)(QUESTION) == 0b001
    assert Client(tmp_path / "s.sock")(QUESTION) is None
    with pytest.raises(TargetError, match="ended before it was ready"), started(tmp_path / "none.onnx", tmp_path):
        pass
    code = "import sys, whet.agents.cache.sidecar; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
