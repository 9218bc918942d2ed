"""What Cold-RL makes of a cache: hits beside LRU, LFU, ARC and Belady on held-out traces, and how soon it decides.

    python benchmarks/cache_eviction.py

Five trainings on mixed traces, of which each sees other ones; every policy is judged on the same held-out traces of
each kind, by its ONNX file. A difference to LRU is taken trace by trace; its 95 % interval is of the mean over traces.
Decisions are timed through the process beside the cache, with the limit of the paper, 500 microseconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import whet
from whet.agents.cache.client import LIMIT_MS, Client
from whet.agents.cache.environment import CANDIDATES, CAPACITY_BYTES
from whet.agents.cache.eviction import ARC, LFU, LRU, Belady, Coldest, Decide, Policy, best, replay
from whet.agents.cache.sidecar import Scores, scores_of_file, started
from whet.agents.cache.store import Cache
from whet.agents.cache.traces import KINDS, Trace
from whet.agents.cold_rl import ColdRL
from whet.agents.environments import Environments
from whet.agents.evaluation import Returns
from whet.bench.results import commit, origin, write_result
from whet.hardware import targets
from whet.hardware.device import fingerprint

REQUESTS = 2000
HELD_OUT = 30_000
"""The seed of the first held-out trace; those of trainings are drawn from 2^31."""


def trained(seed: int, steps: int, folder: Path) -> Path:
    """Train a policy and return its ONNX file: the one of the last step, chosen by no evaluation."""
    agent = ColdRL()
    environments = Environments("whet/CacheEviction-v0", agent.environments, seed)
    learner = agent.begin(environments, steps, seed)
    while environments.steps < steps:
        learner.advance()
    folder.mkdir()
    print(f"trained with seed {seed}", flush=True)
    net = whet.lift(learner.policy(), (torch.zeros(2, *environments.spaces.shape),))
    return targets.get("onnxruntime-cpu").save(net, folder)


def deciding(scores: Scores) -> Decide:
    """Return what chooses victims by scores in this process."""
    return lambda q: best(scores(q.features), q.sizes_bytes)


def hits(trace: Trace, policy: Policy, cache: Cache | None = None) -> float:
    """Return a policy's hit ratio in percent."""
    return 100 * replay(trace, cache or Cache(CAPACITY_BYTES), policy).hit_ratio


def learned(trace: Trace, decide: Decide) -> float:
    """Return the hit ratio of a choice among the coldest in percent."""
    cache = Cache(CAPACITY_BYTES)
    return hits(trace, Coldest(cache, decide, CANDIDATES), cache)


def judged(kind: str, count: int, policies: Sequence[Scores]) -> dict[str, Any]:
    """Return the hit ratios of everything on held-out traces of a kind, and each training's gain over LRU."""
    traces = [KINDS[kind](HELD_OUT + index, REQUESTS) for index in range(count)]
    plain = {
        "LRU": [hits(t, LRU()) for t in traces], "LFU": [hits(t, LFU()) for t in traces],
        "ARC": [hits(t, ARC(CAPACITY_BYTES)) for t in traces], "Belady": [hits(t, Belady(t)) for t in traces],
    }  # fmt: skip
    each = [[learned(t, deciding(scores)) for t in traces] for scores in policies]
    found: dict[str, Any] = {"kind": kind, "ratios": {n: float(np.mean(v)) for n, v in plain.items()}}
    found["ratios"]["Cold-RL"] = float(np.mean(each))
    found["beyond"] = {name: gain(np.mean(each, 0) - values) for name, values in plain.items()}
    found["seeds"] = [gain(np.array(own) - plain["LRU"]) for own in each]
    return found


def gain(differences: Any) -> dict[str, float]:
    """Return the mean of paired differences, in points of the hit ratio, with its 95 % interval."""
    returns = Returns(tuple(differences.tolist()))
    low, high = returns.interval() or (float("nan"), float("nan"))
    return {"mean": returns.mean, "low": low, "high": high}


def timed(model: Path) -> dict[str, Any]:
    """Return how long decisions take through the process beside the cache, and how they came out."""
    with tempfile.TemporaryDirectory() as folder, started(model, Path(folder) / "cache.sock"):
        client = Client(Path(folder) / "cache.sock")
        ratio = np.mean([learned(KINDS["mixed"](HELD_OUT + index, REQUESTS), client) for index in range(3)])
        p50, p95, p99, worst = np.percentile(client.latencies_us, (50, 95, 99, 100))
    return {
        "decisions": len(client.latencies_us), "p50_us": p50, "p95_us": p95, "p99_us": p99, "most_us": worst,
        "limit_us": 1e3 * LIMIT_MS, "hit_ratio": float(ratio), "load": os.getloadavg()[0], **client.outcomes,
    }  # fmt: skip


def markdown(table: dict[str, Any]) -> str:
    """Return the table as a page."""
    names = list(table["kinds"][0]["ratios"])
    lines = [
        f"### Cache eviction: hits of {REQUESTS} requests, {CAPACITY_BYTES / 1e6:g} MB, {CANDIDATES} candidates",
        "",
        f"Percent of requests, means over {table['traces']} held-out traces of each kind; Cold-RL over "
        f"{table['trainings']} trainings of {table['steps']:,} steps on other mixed traces. Belady's would be the most "
        "there can be if objects were of one size.",
        "",
        f"| trace | {' | '.join(names)} | Cold-RL beyond LRU | beyond LFU | beyond ARC |",
        "|---" * (len(names) + 4) + "|",
    ]
    for kind in table["kinds"]:
        ratios = " | ".join(f"{kind['ratios'][name]:.1f}" for name in names)
        beyond = " | ".join(told(kind["beyond"][name]) for name in ("LRU", "LFU", "ARC"))
        lines.append(f"| {kind['kind']} | {ratios} | {beyond} |")
    seeds = [told(one) for one in next(k for k in table["kinds"] if k["kind"] == "mixed")["seeds"]]
    t = table["timed"]
    lines += [
        "",
        f"Each training beyond LRU on the mixed traces: {'; '.join(seeds)}. In parentheses 95 % intervals of the mean, "
        "paired by trace.",
        "",
        f"A decision through the process beside the cache: p50 {t['p50_us']:.0f}, p95 {t['p95_us']:.0f}, p99 "
        f"{t['p99_us']:.0f}, at most {t['most_us']:.0f} microseconds, over {t['decisions']:,} of them; the limit is "
        f"{t['limit_us']:.0f}, as in the paper. {t['answered']:,} were answered in time, {t['late']:,} late, "
        f"{t['busy']:,} not asked behind one, {t['bad']:,} wrongly, {t['gone']:,} not at all: LRU decided these. "
        f"So served, hits were {t['hit_ratio']:.1f} % of 3 of the mixed traces, at a load of {t['load']:.1f}.",
        "",
        f"Made by `python benchmarks/cache_eviction.py` in {table['processor_seconds']:.0f} s of processor time. "
        f"{origin({**table, 'commit': commit()})}",
        "",
    ]
    return "\n".join(lines)


def told(one: dict[str, float]) -> str:
    """Say a difference with its interval."""
    return f"{one['mean']:+.1f} ({one['low']:+.1f} to {one['high']:+.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--traces", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        files = [trained(seed, asked.steps, Path(folder) / str(seed)) for seed in range(asked.seeds)]
        policies = [scores_of_file(path) for path in files]
        kinds = [judged(kind, asked.traces, policies) for kind in ("mixed", "zipf", "scan")]
        decisions = timed(files[0])
    table = {
        "requests": REQUESTS, "traces": asked.traces, "trainings": asked.seeds, "steps": asked.steps, "kinds": kinds,
        "timed": decisions, "processor_seconds": time.process_time() - began, "device": fingerprint().to_dict(),
    }  # fmt: skip
    page = markdown(table)
    write_result(asked.out / "cache-eviction", table, page)
    print(page)


if __name__ == "__main__":
    sys.exit(main())
