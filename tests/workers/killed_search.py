"""A small search with two workers that may kill itself once a candidate was logged, in the middle of two."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "flow"))

from quick import search, untimed


def main(out: Path, dies: bool) -> None:
    def progress(event: dict[str, Any]) -> None:
        if dies and event["stage"] == "short":
            os.kill(os.getpid(), signal.SIGKILL)

    with untimed(1.5):
        front = search(out, workers=2, trials=3, epochs=6.0, progress=progress)
    print(front.conclusion)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "dies")
