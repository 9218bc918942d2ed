"""Lottery tickets beside their controls: how well few weights learn, by where they lie and how they begin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from whet.bench.results import origin
from whet.bench.scored import Scored, best_of
from whet.core.net import Net
from whet.core.run import Progress
from whet.graph.lift import lift
from whet.train.activating import dead_share
from whet.train.tickets import Masks, Ticket, shuffled, tickets, trained

if TYPE_CHECKING:
    from whet.tasks.bundle import Bundle

TICKET, OTHERWISE, ELSEWHERE = "ticket", "begun otherwise", "elsewhere"


@dataclass(frozen=True)
class Drawing:
    """How tickets are drawn: the `rounds`, the share that is `gone` in each, the `epochs` of every training.

    `activating` is the part of that share that holds neurons back (`whet.train.activating`). From untrained weights a
    training of few steps leaves statistics of norms behind, so that files score far below what it learnt: one of 16
    steps had 10 % of digits right where it knew 95 %.
    """

    rounds: int = 5
    gone: float = 0.2
    epochs: float = 3.0
    each: bool = True
    activating: float = 0.0


def run(
    bundle: Bundle, network: str, drawing: Drawing, target: str, out: Path, results: Path, progress: Progress,
    validation: int = 2000, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Draw tickets of a network of the task from its untrained weights, train controls, score files, write a table.

    There are three trainings a round and one of the whole network, all equally long, on labels alone.
    """
    net, other = untrained(bundle, network, seed), untrained(bundle, network, seed + 1)
    work = Scored.of("tickets", net, bundle.task, target, out, validation)
    options: dict[str, Any] = {"recipe": bundle.recipe, "epochs": drawing.epochs, "seed": seed, "progress": progress}
    rows = list[dict[str, Any]]()
    drawn: dict[str, Any] = {name: getattr(drawing, name) for name in ("rounds", "gone", "each", "activating")}
    for stage, ticket in enumerate(tickets(net, work.task, **drawn, **options)):
        rows.append(_row(work, stage, TICKET, ticket))
        controls: tuple[tuple[str, Net, Masks], ...] = (
            (OTHERWISE, other, ticket.masks), (ELSEWHERE, net, shuffled(ticket.masks, seed))
        )  # fmt: skip
        for name, begun, masks in controls if stage else ():
            rows.append(_row(work, stage, name, trained(begun, masks, work.task, **options)))
    return work.write(results, rows, markdown, **asdict(drawing), seed=seed)


def untrained(bundle: Bundle, network: str, seed: int) -> Net:
    """Return a network of a task as it begins.

    Raises: UnknownNameError for a name that is not one of the task's networks.
    """
    torch.manual_seed(seed)
    return lift(bundle.built(network).eval(), bundle.example, name=network)


def _row(work: Scored, stage: int, how: str, ticket: Ticket) -> dict[str, Any]:
    quality, size = work.score(work.save(ticket.net, f"{stage} {how}"))
    return {
        "round": stage, "how": how, "left": ticket.left, "quality": quality, "size_bytes": size,
        "dead": dead_share(ticket.net, (x for x, _ in work.val)), "seconds": round(ticket.report.seconds, 1),
    }  # fmt: skip


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people; the best of a round is in bold."""
    lines = [
        f"### {table['network']} on {table['task']}: {table['rounds']} rounds that take {table['gone']:.0%} of what is "
        f"left, {table['epochs']:g} epochs each",
        "",
        f"`{TICKET}` begins with the weights that there were at first, `{OTHERWISE}` with others at the same places, "
        f"`{ELSEWHERE}` with as many of the first ones at places that are drawn. "
        f"{table['validation_samples']:,} validation samples, files in {table['setting']}.",
        "",
        f"| round | weights left | begins as | {table['metric']} | bytes | rectifiers at zero | trained, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in table["rows"]:
        best = best_of([x for x in table["rows"] if x["round"] == r["round"]], "quality", table["direction"])
        text = f"**{r['quality']:.4f}**" if r["quality"] == best else f"{r['quality']:.4f}"
        dead = "" if r["dead"] is None else f"{r['dead']:.1%}"
        lines.append(
            f"| {r['round']} | {r['left']:.1%} | {r['how']} | {text} | {r['size_bytes']:,} | {dead} "
            f"| {r['seconds']:.1f} |"
        )
    return "\n".join([*lines, "", origin(table), ""])
