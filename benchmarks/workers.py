"""How fast two workers with a core each are beside one: the same list of trainings, in turns.

    python benchmarks/workers.py [--samples 6000] [--trainings 4] [--rounds 3] [--out benchmarks/results/workers.md]

All trainings are by samples, so each does the same work whoever does it; a second core must be free. What is timed is
what a search waits for: sending the networks, training, and getting the weights back. Workers import torch before.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

import whet
from whet import tasks
from whet.bench.results import device_line
from whet.data.bind import bind
from whet.flow.request import Request
from whet.flow.work import Work
from whet.hardware.device import fingerprint
from whet.workers.crew import Crew, crew
from whet.workers.where import Where

LEAST = 64
"""Samples of a training that tells what sending alone takes."""


def works(net: whet.Net, recipe: Any, samples: int, count: int) -> list[Work]:
    return [Work(net.copy(), recipe, {"samples": samples}, 1.0, "short", "short", 1.0) for _ in range(count)]


def seconds(team: Crew, asked: list[Work], at_once: int) -> float:
    """Return how long a list of trainings takes, so many of them at once."""
    began = time.monotonic()
    for first in range(0, len(asked), at_once):
        for waiting in [team.give(work) for work in asked[first : first + at_once]]:
            waiting()
    return time.monotonic() - began


def measured(samples: int, trainings: int, rounds: int) -> dict[str, Any]:
    bundle = tasks.get("digits")
    module, example = bundle.trained()
    net = whet.lift(module, example, name="digits_cnn")
    nowhere: Any = None
    request = Request(net, bind(bundle.task, net), nowhere, (), (), 60.0, Path(), recipe=bundle.recipe)
    found: dict[int, list[float]] = {1: [], 2: []}
    with crew(Where(2), request, print) as team:
        seconds(team, works(net, bundle.recipe, LEAST, 4), 2)  # both import torch and fetch the data
        for _ in range(rounds):
            for at_once in (1, 2):
                found[at_once].append(seconds(team, works(net, bundle.recipe, samples, trainings), at_once))
        sent = statistics.median(seconds(team, works(net, bundle.recipe, LEAST, 1), 1) for _ in range(5))
    ratios = [one / two for one, two in zip(found[1], found[2], strict=True)]
    low, mid, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return {
        "ratio": float(mid), "quartiles": (float(low), float(high)), "one": statistics.median(found[1]),
        "two": statistics.median(found[2]), "sent": sent, "bytes": 4 * net.parameter_count,
    }  # fmt: skip


def written(found: dict[str, Any], trainings: int, samples: int, rounds: int) -> str:
    low, high = found["quartiles"]
    return (
        "# Two workers beside one\n\n"
        f"{trainings} trainings of the digits CNN, {samples} samples each, one after the other by one worker and two\n"
        f"at a time by two, a core each; {rounds} rounds in turns. Device: {device_line(fingerprint().to_dict())}.\n\n"
        "| one worker | two workers | ratio (quartiles) | sending a network of "
        f"{found['bytes'] / 1e6:.1f} MB, {LEAST} samples, and back |\n|---|---|---|---|\n"
        f"| {found['one']:.1f} s | {found['two']:.1f} s | x{found['ratio']:.2f} ({low:.2f}-{high:.2f}) "
        f"| {1000 * found['sent']:.0f} ms |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=6_000)
    parser.add_argument("--trainings", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = written(measured(given.samples, given.trainings, given.rounds), given.trainings, given.samples, given.rounds)
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
