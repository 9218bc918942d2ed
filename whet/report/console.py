"""What the terminal shows: progress while an optimization runs, then the front as a table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from whet.report.texts import drop_text

PLAIN_SECONDS = 5.0
REDRAWN_SECONDS = 0.25
TOLD_SECONDS = 2
"""From how many seconds on it is told how long a stage has been going."""


class LiveProgress:
    """A context that gives a callable for progress events.

    On a terminal one line lives at the bottom, in a notebook one line below the cell; elsewhere, and with `quiet`,
    plain lines go to standard error: one for each new stage, at most one every few seconds otherwise.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.began = time.monotonic()
        self.state: dict[str, Any] = {}
        self.told = float("-inf")
        self.deadline: float | None = None
        self.live: Live | None = None
        self.in_notebook = self.console.is_jupyter and not quiet
        self.cell: Any = None
        if self.console.is_terminal and not quiet and not self.in_notebook:
            # It asks for the line by itself, so that the clock moves while nothing is reported.
            self.live = Live(console=self.console, refresh_per_second=4, get_renderable=self.text)

    def __enter__(self) -> Callable[[dict[str, Any]], None]:
        if self.live is not None:
            self.live.start()
        return self.update

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, event: dict[str, Any]) -> None:
        """Take in an event and show it."""
        if event.get("row") != self.state.get("row"):
            self.state = {}
        changed = event.get("stage") not in (None, self.state.get("stage"))
        if changed:
            self.began = time.monotonic()
            self.state = {k: v for k, v in self.state.items() if k in ("best", "trial", "row")}
        self.state |= event
        left = event.get("seconds_left")
        if left is not None and math.isfinite(left):  # infinite where the budget is in epochs
            self.deadline = time.monotonic() + left
        often = REDRAWN_SECONDS if self.in_notebook else PLAIN_SECONDS
        if self.live is None and (changed or time.monotonic() - self.told > often):
            self.told = time.monotonic()
            self.write()

    def write(self) -> None:
        """Write the line of now: over the last one in a notebook, below it elsewhere."""
        if not self.in_notebook:
            self.console.print(self.line(), soft_wrap=True, markup=False, highlight=False)
            return
        from IPython.display import display

        shown = {"text/plain": self.line()}
        if self.cell is None:
            self.cell = display(shown, raw=True, display_id=True)
        else:
            self.cell.update(shown, raw=True)

    def text(self) -> Text:
        """Return the line of now, cut to the terminal."""
        return Text(self.line(), no_wrap=True, overflow="ellipsis")

    def line(self) -> str:
        """Return the state in one line: what is left of the budget, the stage, and for how long it has been going."""
        s, now = self.state, time.monotonic()
        left = round(self.deadline - now) if self.deadline is not None else None
        taken = round(now - self.began)
        parts = [
            f"{abs(left) // 60}:{abs(left) % 60:02d} {'left' if left >= 0 else 'over'}" if left is not None else "",
            s.get("row", ""),
            str(s.get("stage", "")) + (f" ({taken} s)" if taken >= TOLD_SECONDS else ""),
            f"step {s['step']}/{s['steps']}, loss {s['loss']:.3f}" if "step" in s else "",
            f"{s['samples_per_second']:,.0f} samples/s" if "samples_per_second" in s else "",
            f"trial {s['trial']}" if "trial" in s else "",
            f"best {s['best']}" if "best" in s else "",
        ]
        return " · ".join(p for p in parts if p)


COLUMNS = ("file", "speed-up", "quartiles", "val", "test", "drop", "bytes", "setting")


def front_table(data: dict[str, Any]) -> Group:
    """Return the delivered front, or the nearest candidate, for 80 columns; `data` is `DeliveredFront.to_dict()`.

    Below the table stands what was decided for each file.
    """
    members = data["front"] + ([data["nearest"]] if data["nearest"] else [])
    title = "Front and, beyond the limit, the nearest candidate" if data["nearest"] else "Front"
    within = len(data["front"])
    names = [f"front/{rank}" if rank < within else m["path"] for rank, m in enumerate(members)]
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="underline")
    for name in COLUMNS:
        table.add_column(name, no_wrap=True)
    for name, m in zip(names, members, strict=True):
        table.add_row(
            name,
            f"x{m['speedup']:.2f}",
            f"{m['speedup_low']:.2f}-{m['speedup_high']:.2f}",
            f"{m['val']:.4f}",
            "" if m["test"] is None else f"{m['test']:.4f}",
            drop_text(m["drop"], data.get("drop_unit", (1.0, ""))),
            f"{m['size_bytes']:,}",
            m["setting"],
        )
    decided = [Text(f"{name}: {_brief(m)}") for name, m in zip(names, members, strict=True)]
    reference = Text(f"bar: {data['bar']}, uncompressed; reference: {_scores(data['metric'], data['reference'])}")
    return Group(table, *decided, reference)


def _brief(member: dict[str, Any]) -> str:
    """Return the decision, or how many choices it makes where that would not fit; the manifest has them all."""
    if member["number"] < 0:
        return "the uncompressed network"
    text = ", ".join(f"{k}={v}" for k, v in member["decision"].items()) or "as it is"
    return text if len(text) <= 240 else f"{len(member['decision'])} choices"


def _scores(metric: str, reference: dict[str, float | None]) -> str:
    shown = [f"{k} {v:.4f}" for k, v in reference.items() if v is not None]
    return f"{metric} {', '.join(shown)}"
