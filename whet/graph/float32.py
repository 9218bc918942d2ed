"""Networks in half or double precision, computed in float32: what a net is and what runtimes are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LOW = frozenset({torch.float16, torch.bfloat16})
CASTS = {torch.Tensor.half: torch.float16, torch.Tensor.bfloat16: torch.bfloat16, torch.Tensor.double: torch.float64}


class Float32(TorchFunctionMode):
    """While it is entered, what would be of one of the types `others` is float32, and autocast does nothing.

    >>> with Float32():
    ...     (torch.ones(2).half() + torch.zeros(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    def __init__(self, others: frozenset[torch.dtype] = LOW) -> None:
        super().__init__()
        self.others = others
        self.replaced: set[str] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        args, kwargs = tuple(map(self._changed, args)), {k: self._changed(v) for k, v in (kwargs or {}).items()}
        if CASTS.get(func) in self.others:
            self._changed(CASTS[func])
            func = torch.Tensor.float
        autocast = torch.is_autocast_enabled("cpu")
        if not autocast:
            return func(*args, **kwargs)
        self.replaced.add("autocast")
        torch.set_autocast_enabled("cpu", False)
        try:
            return func(*args, **kwargs)
        finally:
            torch.set_autocast_enabled("cpu", True)

    def _changed(self, value: Any) -> Any:
        if isinstance(value, torch.dtype) and value in self.others:
            self.replaced.add(str(value).removeprefix("torch."))
            return torch.float32
        return value

    def notes(self) -> tuple[str, ...]:
        """Say what was left out, if anything was."""
        if not self.replaced:
            return ()
        return (f"forward casts ({', '.join(sorted(self.replaced))}); the net computes in float32 throughout",)


def foreign(module: nn.Module) -> frozenset[torch.dtype]:
    """Return the float types other than float32 of a module's tensors."""
    found = {t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()}
    return frozenset(found - {torch.float32})


def as_float32(value: Any) -> Any:
    """Return a tensor of floats as float32, anything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
