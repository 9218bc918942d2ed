"""What a device does with orders: open, run, time. By whet's own measuring, on its own runtimes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from whet.core.errors import TargetError
from whet.core.target import Array, Artifact, Session, Target
from whet.device.protocol import (
    MOST_CALLS,
    MOST_INPUTS,
    MOST_LAYERS,
    Fields,
    Malformed,
    Order,
    packed,
    read_sizes,
    unpacked,
)
from whet.device.store import Store
from whet.hardware.device import fingerprint
from whet.hardware.executed import executed
from whet.hardware.fresh import served_fresh
from whet.hardware.measure import LEAST_ROUNDS, timed
from whet.hardware.profile import layer_times
from whet.hardware.single_calls import MOST_CALLS as MOST_SINGLE
from whet.hardware.single_calls import single_calls

KEPT_OPEN = 16
"""How many files stay open between requests, with all that their runtimes hold for them."""
MOST_ROUNDS, MOST_FRESH = 10_000, 100
Answer = Mapping[str, Any] | bytes
Calls = dict[str, partial[Any]]


class Work:
    """Does orders on the files of a store. Not for two threads at once.

    A measurement is asked for at most `most_seconds`, and refused where the least number of calls takes longer.
    """

    def __init__(self, store: Store, target: Target, most_seconds: float) -> None:
        self.store, self.target, self.most_seconds = store, target, most_seconds
        self.cores = fingerprint().cores
        self._open: OrderedDict[str, Session] = OrderedDict()

    def open(self, data: Any) -> Answer:
        """Open a file, once in a child process, and keep it open."""
        with self._trimmed():
            self._session(self._order(Fields(data)))
        return {}

    def run(self, data: Any) -> Answer:
        """Run a file on inputs that are kept; return its outputs as `packed` arrays of any shapes."""
        with self._trimmed():
            found = self._call(Fields(data))()
        outputs = found if isinstance(found, tuple) else (found,)
        if not all(isinstance(value, np.ndarray) and not value.dtype.hasobject for value in outputs):
            raise TargetError("the file gives something else than tensors, which do not go over the line.")
        return packed(outputs)

    def time(self, data: Any) -> Answer:
        """Time calls against each other, interleaved, as `whet.hardware.measure.timed` does everywhere."""
        given = Fields(data)
        options = {
            "seconds": given.number("seconds", self.most_seconds), "tolerance": given.number("tolerance", 1e9),
            "burst_seconds": given.number("burst_seconds", 10.0), "seed": given.whole("seed", 0, 2**63),
            "rounds": given.whole("rounds", LEAST_ROUNDS, MOST_ROUNDS),
        }  # fmt: skip
        asked = {name: Fields(one, f"call '{name:.40}'") for name, one in given.named("calls", MOST_CALLS).items()}
        baseline = given.one_of("baseline", list(asked))
        with self._trimmed():
            calls = {name: self._call(one) for name, one in asked.items()}
            # Each burst is at least two calls: one that warms up, and one that is timed.
            self._refuse_slow(calls, 2 * LEAST_ROUNDS)
            return {"times": timed(calls, baseline, **options)}  # type: ignore[arg-type]

    def single(self, data: Any) -> Answer:
        """Time single calls one after the other."""
        given = Fields(data)
        seconds, most = given.number("seconds", self.most_seconds), given.whole("most", 1, MOST_SINGLE)
        least = given.whole("least", 1, most)
        with self._trimmed():
            call = self._call(given)
            self._refuse_slow({"call": call}, least)
            return {"seconds": single_calls(call, seconds, least, most).seconds}

    def fresh(self, data: Any) -> Answer:
        """Serve a file in a fresh process; return its peak of memory and its cold start."""
        given = Fields(data)
        order, calls = self._order(given), given.whole("calls", 1, MOST_FRESH)
        kinds = {name: Fields(one, f"input '{name:.40}'") for name, one in given.named("inputs", MOST_INPUTS).items()}
        sizes = read_sizes({name: one.get("sizes") for name, one in kinds.items()}, "inputs")
        inputs = {name: (sizes[name], _number_type(one.text("dtype"))) for name, one in kinds.items()}
        with self._trimmed():
            self._session(order)  # a crash is told, and takes nothing along
        found = served_fresh(self._artifact(order), inputs, calls)
        return {"peak_bytes": found.peak_bytes, "cold_start_seconds": found.cold_start_seconds}

    def layers(self, data: Any) -> Answer:
        """Return the milliseconds of each layer in each of several files; null where the runtime does not tell."""
        given = Fields(data)
        asked = given.named("files", MOST_CALLS)
        orders = {name: Order.read(one, self.cores) for name, one in asked.items()}
        layers, rounds = given.texts("layers", MOST_LAYERS), given.whole("rounds", 1, MOST_ROUNDS)
        inputs = self._inputs(given)
        first = next(iter(orders.values()))
        if any(order.settings != first.settings or order.batch != first.batch for order in orders.values()):
            raise Malformed("files that layers are timed in must be opened alike.")
        with self._trimmed():
            for order in orders.values():
                self._session(order)
        files = {name: self._artifact(order).path for name, order in orders.items()}
        return {"layers": layer_times(files, first.settings, layers, inputs, rounds, first.batch)}

    def executed(self, data: Any) -> Answer:
        """Return in which kernel and precision each layer of a file is computed."""
        given = Fields(data)
        order, layers = self._order(given), given.texts("layers", MOST_LAYERS)
        with self._trimmed():
            self._session(order)  # a crash is told, and takes nothing along
        artifact = self._artifact(order)
        found = executed(artifact.path, artifact.settings, layers, order.batch)
        return {"layers": {site: [one.kernel, one.precision] for site, one in found.items()}}

    # -- what they share -------------------------------------------------------------------------------------------

    def _order(self, given: Fields) -> Order:
        return Order.read(given.get("order"), self.cores)

    def _inputs(self, given: Fields) -> list[Array]:
        return unpacked(self.store.read(given.hash("inputs")))

    def _call(self, given: Fields) -> partial[Any]:
        return partial(self._session(self._order(given)), *self._inputs(given))

    def _artifact(self, order: Order) -> Artifact:
        return Artifact(self.store.model(order.files), dict(order.settings))

    def _session(self, order: Order) -> Session:
        if order.key not in self._open:
            self._open[order.key] = self.target.open(self._artifact(order), order.batch, order.shapes)
        self._open.move_to_end(order.key)
        return self._open[order.key]

    @contextmanager
    def _trimmed(self) -> Iterator[None]:
        """Close files behind a request, those first that were used longest ago, until few enough are open."""
        try:
            yield
        finally:
            while len(self._open) > KEPT_OPEN:
                self._open.popitem(last=False)

    def _refuse_slow(self, calls: Calls, times: int) -> None:
        """Call each once; raise TargetError where so many calls of all take longer than a measurement may."""
        begin = time.perf_counter()
        for call in calls.values():
            call()
            needs = times * (time.perf_counter() - begin)
            if needs > self.most_seconds:
                raise TargetError(
                    f"{times} calls of each of {len(calls)} files take {needs:.0f} s or more, and the device measures "
                    f"for at most {self.most_seconds:g} s: start it with a larger --max-seconds."
                )


def _number_type(name: str) -> str:
    try:
        kind = np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        raise Malformed(f"'{name:.40}' is no type of numbers.") from None
    if kind.kind not in "biufc":
        raise Malformed(f"'{name:.40}' is no type of numbers.")
    return kind.name
