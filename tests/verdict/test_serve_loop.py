"""Messages between a process and the one that serves for it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from whet.verdict import serve_loop

DOUBLES = """
import numpy as np

def serve(*inputs):
    return [2 * x for x in inputs]
"""


def test_each_message_is_answered_until_there_are_no_more(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text(DOUBLES)
    orders, answers = io.BytesIO(), io.BytesIO()
    messages = [[np.arange(3)], [np.ones((2, 2), np.float32), np.array(5)]]
    for arrays in messages:
        serve_loop.send(orders, arrays)
    orders.seek(0)
    serve_loop.main(tmp_path, orders, answers)
    answers.seek(0)
    assert "torch" in str(serve_loop.receive(answers)), "here it is imported"
    for arrays in messages:
        np.testing.assert_equal(serve_loop.receive(answers), [2 * a for a in arrays])
    assert serve_loop.receive(answers) is None
