"""How soon agents solve an environment: several seeds each, from the learning curves of `whet agent train`.

    python benchmarks/agents.py --env CartPole-v1 --solved 475 --seeds 5 --agent "dqn:50000" --agent "ppo:100000"

A training ends with its first evaluation (20 fixed episodes) whose mean return is the most that there is, `--most`,
or with its steps. Solved is the first evaluation of at least `--solved`. The return at the end is of 100 other
episodes, of the best policy of the evaluations. Seconds are of wall-clock time with evaluations; seconds of processor
time are those of the process, and tell more where others used the machine at the same time. What was trained is kept
in `--runs`, so that a killed benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from whet.agents.training import Training, train
from whet.bench.results import commit, origin, write_result
from whet.cli.agent import file_name
from whet.hardware.device import fingerprint
from whet.support.files import write_text

ROW = "row.json"
"""What came of a training that is over, in its folder."""


@dataclass(frozen=True)
class Row:
    """One training: when it first was good enough and the best there is (None: never), and what it gains at the end."""

    agent: str
    seed: int
    solved_steps: int | None
    solved_seconds: float | None
    most_steps: int | None
    end_return: float
    low: float | None
    high: float | None
    seconds: float
    processor_seconds: float
    load: float


def first(curve: Sequence[dict[str, Any]], least: float, what: str) -> Any:
    """Return a figure of the first evaluation of at least `least`, None where there is none."""
    return next((line[what] for line in curve if line["evaluation"] >= least), None)


def trained(agent: str, steps: int, seed: int, asked: argparse.Namespace) -> Row:
    """Train once and return what came of it."""
    training = Training(agent, asked.env, steps, seed, asked.evaluate_every, 20, asked.most)
    folder = asked.runs / f"{file_name(agent)}-{file_name(asked.env)}-{seed}"
    if (folder / ROW).is_file():
        return Row(**json.loads((folder / ROW).read_text(encoding="utf-8")))
    began = time.process_time()
    found = train(training, folder)
    low, high = found.returns.interval() or (None, None)
    row = Row(
        agent, seed, first(found.curve, asked.solved, "steps"), first(found.curve, asked.solved, "seconds"),
        first(found.curve, asked.most, "steps"), found.returns.mean, low, high, found.seconds,
        time.process_time() - began, os.getloadavg()[2],
    )  # fmt: skip
    write_text(folder / ROW, json.dumps(asdict(row)))
    return row


def markdown(table: dict[str, Any]) -> str:
    """Return the table as a page, from the same figures as the JSON file."""
    rows = [Row(**row) for row in table["rows"]]
    lines = [
        f"### {table['environment']}: how soon it is solved, a mean return of {table['solved']:g} in 20 fixed episodes",
        "",
        "| agent | seed | solved after steps | seconds | "
        f"{table['most']:g} after steps | return of 100 other episodes | seconds in all | of processor | load |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        when = "never" if r.solved_steps is None else f"{r.solved_steps:,}"
        seconds = "" if r.solved_seconds is None else f"{r.solved_seconds:.0f}"
        most = "never" if r.most_steps is None else f"{r.most_steps:,}"
        interval = "" if r.low is None else f" ({r.low:.1f} to {r.high:.1f})"
        lines.append(
            f"| `{r.agent}` | {r.seed} | {when} | {seconds} | {most} | {r.end_return:.1f}{interval} | "
            f"{r.seconds:.0f} | {r.processor_seconds:.0f} | {r.load:.1f} |"
        )
    lines.append("")
    for agent in dict.fromkeys(r.agent for r in rows):
        own = [r for r in rows if r.agent == agent]
        solved = [r.solved_steps for r in own if r.solved_steps is not None]
        after = f", after {median(solved):,.0f} steps in the median" if solved else ""
        lines.append(
            f"`{agent}`: solved with {len(solved)} of {len(own)} seeds{after}; {table['most']:g} with "
            f"{sum(r.most_steps is not None for r in own)}; "
            f"{median(r.processor_seconds for r in own):.0f} s of processor time in the median."
        )
    load = "Load is the machine's at the end of a training, over 15 minutes: beyond the number of cores, others worked."
    return "\n".join([*lines, "", load, "", f"{table['command']} {origin({**table, 'commit': commit()})}", ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--solved", type=float, default=475.0)
    parser.add_argument("--most", type=float, default=500.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluate-every", type=int, default=5000)
    parser.add_argument("--agent", action="append", metavar="AGENT:STEPS", help="dqn:50000 and ppo:100000 by default")
    parser.add_argument("--runs", type=Path, default=Path("runs/agents"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found: list[Row] = []
    words = asked.agent or ["dqn:50000", "ppo:100000"]
    for agent, _, steps in (word.rpartition(":") for word in words):
        for seed in range(asked.seeds):
            found.append(trained(agent, int(steps), seed, asked))
            print(found[-1], flush=True)
            said = " ".join(f'--agent "{word}"' for word in words)
            table = {
                "environment": asked.env, "solved": asked.solved, "most": asked.most,
                "rows": [asdict(r) for r in found], "device": fingerprint().to_dict(),
                "command": f"Made by `python benchmarks/agents.py --env {asked.env} --solved {asked.solved:g} --most "
                f"{asked.most:g} --seeds {asked.seeds} {said}`.",
            }  # fmt: skip
            write_result(asked.out / f"agents-{file_name(asked.env)}", table, markdown(table))


if __name__ == "__main__":
    sys.exit(main())
