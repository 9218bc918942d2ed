"""A cache whose evictions a trained policy decides, in a process of its own; LRU does where that is not in time.

    python examples/cache_eviction/run.py

It trains the policy the first time (a minute), writes it as ONNX, serves it behind a Unix socket, and sends a log of
requests through a cache: with the process at work, with the process killed in the middle, and by LRU alone. `--model`
serves another file, such as one of `whet optimize`; `--log` replays your own log (docs/agents-shipping.md).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from whet.agents.cache.client import LIMIT_MS, Client
from whet.agents.cache.environment import CANDIDATES, CAPACITY_BYTES
from whet.agents.cache.eviction import LRU, Coldest, Question, Replayed, replay
from whet.agents.cache.sidecar import started
from whet.agents.cache.store import Cache
from whet.agents.cache.traces import Trace, mixed, read
from whet.agents.training import Training, train
from whet.cli.agent import exported


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/agents/cache"), help="of the training")
    parser.add_argument("--steps", type=int, default=5000, help="of the training")
    parser.add_argument("--model", type=Path, help="an ONNX file; default: that of the training")
    parser.add_argument("--log", type=Path, help="of requests; default: one is made up")
    parser.add_argument("--requests", type=int, default=5000, help="of a log that is made up")
    parser.add_argument("--capacity", type=int, default=CAPACITY_BYTES, help="of the cache, in bytes")
    parser.add_argument("--limit-ms", type=float, default=LIMIT_MS, help="for one decision")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    trace = read(asked.log) if asked.log else mixed(7, asked.requests)
    model = asked.model or trained(asked.folder, asked.steps)
    with tempfile.TemporaryDirectory() as folder, started(model, Path(folder) / "cache.sock") as process:
        client = Client(Path(folder) / "cache.sock", asked.limit_ms)
        served = through(trace, asked.capacity, client)
        tell("with the process beside it", served, client)

        evictions = 0

        def killed_midway(question: Question) -> int | None:
            nonlocal evictions
            evictions += 1
            if evictions == served.evictions // 2:
                process.kill()
            return client(question)

        client = Client(Path(folder) / "cache.sock", asked.limit_ms)
        tell("killed half-way", through(trace, asked.capacity, killed_midway), client)
    print(f"LRU alone: hit ratio {replay(trace, Cache(asked.capacity), LRU()).hit_ratio:.1%}")


def trained(folder: Path, steps: int) -> Path:
    """Train a policy, or find it trained, and return its ONNX file."""
    train(Training("cold-rl", "whet/CacheEviction-v0", steps, 0, steps, 4), folder, progress=print)
    return exported(folder, folder)


def through(trace: Trace, capacity_bytes: int, decide: Callable[[Question], int | None]) -> Replayed:
    """Send a log through a cache that asks `decide`."""
    cache = Cache(capacity_bytes)
    return replay(trace, cache, Coldest(cache, decide, CANDIDATES))


def tell(what: str, found: Replayed, client: Client) -> None:
    """Print the hits, and how soon and by whom evictions were decided."""
    p50, p95, p99, most = np.percentile(client.latencies_us, (50, 95, 99, 100))
    outcomes = ", ".join(f"{count} {name}" for name, count in client.outcomes.items() if count)
    print(f"{what}: hit ratio {found.hit_ratio:.1%}; decisions: {outcomes}")
    print(
        f"  a decision took p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}, at most {most:.0f} microseconds; the limit is "
        f"{client.limit_s * 1e6:.0f} (load {os.getloadavg()[0]:.1f})"
    )


if __name__ == "__main__":
    main()
