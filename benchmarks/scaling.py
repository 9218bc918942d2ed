"""What a thousand candidates cost on a hundred workers and ten devices: figures measured here, fed to a simulation.

    python benchmarks/scaling.py --measure                # writes a second into records, bytes and time of a sending
    python benchmarks/scaling.py --run runs/a             # seconds of a search's steps for each candidate
    python benchmarks/scaling.py                          # the simulation, by the figures in benchmarks/results

Every candidate passes the driver (cut, solve, send), a worker (train, score), a device (time, save, score the file) and
the record (one write); each serves one at a time, in the order in which candidates come. Steps take always as long.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
import time
from collections.abc import Mapping
from multiprocessing import Process
from pathlib import Path
from typing import Any

from whet.core.space import Decision, Space
from whet.core.study import Study, Trial
from whet.flow.folder import recorded
from whet.hardware.device import fingerprint

FIGURES = Path(__file__).parent / "results" / "scaling.json"
PAGE = FIGURES.with_suffix(".md")
CANDIDATES, WORKERS, DEVICES = 1000, 100, 10
WRITES = 200
DRIVING, DEVICE, TRAINING = ("cut", "repair", "error"), ("race", "save", "evaluate", "finish"), ("train", "quick")
"""The activities of a search's stopwatch that are a driver's, a device's and a worker's."""


# -- what is measured ----------------------------------------------------------------------------------------------


def trial(number: int) -> Trial:
    return Trial(number, "short", Decision(), 0.9, 0.0, 1.0, settings={"threads": 1}, note="x" * 200)


def write(address: str, count: int) -> None:
    study = Study(address, {}, Space())
    for number in range(count):
        study.add(trial(number))


def writes_per_second(address: str, processes: int) -> float:
    """Return how many trials so many processes write into one study in a second, together."""
    write(address, 1)
    began = time.monotonic()
    writers = [Process(target=write, args=(address, WRITES)) for _ in range(processes)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return processes * WRITES / (time.monotonic() - began)


def measured(storages: list[str]) -> dict[str, Any]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for address in (f"sqlite:///{folder}/study.db", *storages):
            kind = address.partition(":")[0].partition("+")[0]
            found[kind] = {str(n): writes_per_second(address, n) for n in (1, 4)}
    return {"writes_per_second": found, "device": fingerprint().cpu}


def steps_of(run: Path) -> dict[str, float]:
    """Return the seconds of a search for each candidate that was tried in it, by who does them when they are spread."""
    seconds: dict[str, float] = recorded(run, "seconds")
    study = json.loads(json.dumps(recorded(run, "report")))["trials"]
    tried = max(sum(t["stage"] in ("short", "full", "failed") for t in study), 1)
    kinds = {"driver": DRIVING, "device": DEVICE, "worker": TRAINING}
    return {
        who: sum(s for key, s in seconds.items() if key.partition("/")[2] in names) / tried
        for who, names in kinds.items()
    }


# -- the simulation ------------------------------------------------------------------------------------------------


def simulated(steps: Mapping[str, float], counts: Mapping[str, int], candidates: int) -> tuple[float, dict[str, float]]:
    """Return the seconds until the last candidate is through, and the share of them that each stage was busy.

    Stages are passed in the order of `steps`; `counts` says how many serve at once.

    >>> simulated({"worker": 10.0, "device": 1.0}, {"worker": 2, "device": 1}, 4)
    (22.0, {'worker': 0.9090909090909091, 'device': 0.18181818181818182})
    """
    free = {name: [0.0] * counts[name] for name in steps}
    arrived = [0.0] * candidates
    for name, seconds in steps.items():
        servers, left = free[name], []
        for ready in sorted(arrived):
            begun = max(ready, heapq.heappop(servers))
            heapq.heappush(servers, begun + seconds)
            left.append(begun + seconds)
        arrived = left
    last = max(arrived)
    return last, {name: candidates * seconds / (counts[name] * last) for name, seconds in steps.items()}


def rows(figures: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table: trainings of several lengths, with one device and with ten."""
    writes = figures["writes_per_second"]["sqlite"]["1"]
    lines = []
    for training in (figures["steps"]["worker"], 60.0, 600.0):
        for devices in (1, DEVICES):
            steps = {
                "driver": figures["steps"]["driver"] + figures["sent_seconds"], "worker": training,
                "device": figures["steps"]["device"], "record": 1 / writes,
            }  # fmt: skip
            counts = {"driver": 1, "worker": WORKERS, "device": devices, "record": 1}
            last, busy = simulated(steps, counts, CANDIDATES)
            alone = CANDIDATES * (sum(steps.values()))
            shares = " | ".join(f"{busy[name]:.1%}" for name in counts)
            lines.append(
                f"| {training:.1f} s | {devices} | {last / 60:.1f} min | x{alone / last:.1f} | {shares} "
                f"| {max(busy, key=lambda name: busy[name])} |"
            )
    return lines


def page(figures: Mapping[str, Any]) -> str:
    steps, writes = figures["steps"], figures["writes_per_second"]
    each = "; ".join(f"{kind} {w['1']:.0f} by one process, {w['4']:.0f} by four" for kind, w in writes.items())
    return (
        f"# {CANDIDATES} candidates on {WORKERS} workers\n\n"
        f"Measured ({figures['device']}): trials written a second: {each}. Seconds a candidate of a search "
        f"({figures['run']}): {steps['driver']:.2f} driver, {steps['device']:.2f} device, {steps['worker']:.2f} "
        f"training; {1000 * figures['sent_seconds']:.0f} ms to send a network and get it back.\n\n"
        "Simulated by `python benchmarks/scaling.py`:\n\n"
        "| training | devices | all take | over one process | driver busy | workers busy | devices busy | record busy "
        "| what saturates |\n|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows(figures)) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--storage", action="append", default=[], help="another record to write into, by its address")
    parser.add_argument("--run", type=Path, help="a folder of a search without workers")
    parser.add_argument("--sent", type=float, help="seconds of sending, as benchmarks/workers.py prints them")
    given = parser.parse_args()
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    if given.measure:
        figures |= measured(given.storage)
    if given.run is not None:
        figures |= {"steps": steps_of(given.run), "run": given.run.name}
    if given.sent is not None:
        figures["sent_seconds"] = given.sent
    FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    text = page(figures)
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
