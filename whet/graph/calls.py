"""How a network is called: example inputs and outputs of any structure, as flat tensors with names."""

from __future__ import annotations

import dataclasses
import inspect
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from whet.core.errors import LiftError
from whet.support.structure import Tree, items, mapped, parts_of

PLAIN = (bool, int, float, complex, str, type(None))
"""Kinds of values that may stand beside tensors in inputs and outputs; they are constants."""


class Arguments(NamedTuple):
    """An example as a file keeps it: positional and keyword arguments."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Flat:
    """A tree taken apart: its leaves, what puts them together again, and a dotted name for each of its tensors."""

    leaves: tuple[Any, ...]
    spec: Any
    names: tuple[str, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The leaves that are tensors, in order and of the shapes that were called with."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, Tensor))

    def filled(self, tensors: Sequence[Any]) -> list[Any]:
        """Return the leaves with others in the tensors' places."""
        left = iter(tensors)
        return [next(left) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]

    def with_tensors(self, tensors: Sequence[Any]) -> Flat:
        """Return the same tree with other tensors in its tensors' places."""
        return Flat(tuple(self.filled(tensors)), self.spec, self.names)

    def call(self, module: nn.Module, tensors: Sequence[Any]) -> Tree:
        """Return what `module` gives for `tensors`, where this is a tree of positional and keyword arguments."""
        args, kwargs = _pytree.tree_unflatten(self.filled(tensors), self.spec)
        found = module(*args, **kwargs)
        return mapped(_opened, found) if any(_opened(leaf) is not leaf for _, leaf in items(found)) else found


def inputs_of(module: nn.Module, example: Tree) -> Flat:
    """Return example inputs as `module` takes them, named after the parameters of its `forward`.

    A tensor is the only argument, a tuple or list holds positional ones, a dictionary keyword arguments, or is itself
    the only argument where `forward` takes no such keywords. Members may be trees, None and numbers.
    """
    args, kwargs = _arguments(module, example)
    flat = flattened((args, kwargs), lambda path: _input_name(path, _parameters(module, len(args))))
    for path, leaf in zip(_paths((args, kwargs)), flat.leaves, strict=True):
        if not isinstance(leaf, (Tensor, *PLAIN)):
            raise LiftError(f"input '{_dotted(path[1:])}' is of type {type(leaf).__name__}; inputs are tensors.")
    if not flat.names:
        raise LiftError(f"the example holds no tensor but {type(example).__name__}; give one for each input.")
    return flat


def outputs_of(found: Tree) -> Flat:
    """Return a network's outputs, named after keys and fields; the members of a tuple are `output_0`, `output_1`...

    >>> outputs_of({"logits": torch.ones(1), "state": (torch.ones(1), None)}).names
    ('logits', 'state.0')
    >>> outputs_of((torch.ones(1), [torch.ones(1)])).names, outputs_of(torch.ones(1)).names
    (('output_0', 'output_1.0'), ('output',))
    """
    flat = flattened(found, _output_name)
    for path, leaf in zip(_paths(found), flat.leaves, strict=True):
        if not isinstance(leaf, (Tensor, *PLAIN)):
            kind = type(leaf).__name__
            raise LiftError(
                f"{_output_name(path)} is of type {kind}, of which whet does not know the parts; let the network "
                "return tensors, alone or in tuples, lists, dictionaries or dataclasses."
            )
    if not flat.names:
        raise LiftError(f"the network returns no tensor but {type(found).__name__}.")
    return flat


def _opened(leaf: Any) -> Any:
    """Return a transformer's cache as it was before it became an object: (keys, values) of each layer."""
    layers = getattr(leaf, "layers", None)
    if isinstance(layers, list) and all(hasattr(layer, "keys") and hasattr(layer, "values") for layer in layers):
        return tuple((layer.keys, layer.values) for layer in layers)
    return leaf


def flattened(tree: Tree, name: Any) -> Flat:
    """Return a tree taken apart, arrays as tensors; `name` gives a tensor's name from its path."""
    spec = spec_of(tree)
    leaves = _pytree.tree_leaves(tree)
    leaves = [torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves]
    paths = _paths(tree)
    names = tuple(name(path) for path, leaf in zip(paths, leaves, strict=True) if isinstance(leaf, Tensor))
    return Flat(tuple(leaves), spec, names)


def spec_of(tree: Tree) -> Any:
    """Return torch's own description of a tree, which `torch.export` understands; unknown dataclasses are made known.

    It is what a graph's code generator needs to take and return trees.
    """
    _make_known(tree)
    return _pytree.tree_flatten(tree)[1]


def _make_known(tree: Tree) -> None:
    known = _pytree.SUPPORTED_NODES
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type) and type(tree) not in known:
        torch.export.register_dataclass(type(tree))
    for _, child in parts_of(tree) or ():
        _make_known(child)


def identifiers(names: Iterable[str]) -> list[str]:
    """Return names that Python accepts for parameters, each once.

    >>> identifiers(["pixel values", "0", "lambda", "pixel_values"])
    ['pixel_values', 'input_0', 'lambda_', 'pixel_values_']
    """
    found: list[str] = []
    for name in names:
        made = re.sub(r"\W", "_", name, flags=re.ASCII) or "input"
        made = f"input_{made}" if not made[0].isalpha() else made
        while made in found or keyword.iskeyword(made) or made == "self":
            made += "_"
        found.append(made)
    return found


def flat_module(module: nn.Module, inputs: Flat, mode: AbstractContextManager[Any]) -> nn.Module:
    """Return a module around `module`, which is its child `net`, that takes and returns flat tensors, within `mode`."""

    def forward(self: nn.Module, *tensors: Tensor) -> tuple[Tensor, ...]:
        with mode:
            found = inputs.call(self.get_submodule("net"), tensors)
        return tuple(leaf for leaf in _pytree.tree_leaves(found) if isinstance(leaf, Tensor))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("self", *identifiers(inputs.names))]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    made: nn.Module = type("FlatModule", (nn.Module,), {"forward": forward})()
    made.add_module("net", module)
    return made


# -- arguments and names -------------------------------------------------------------------------------------------


def _arguments(module: nn.Module, example: Tree) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Arguments):
        return example
    signature = inspect.signature(module.forward)
    if isinstance(example, Mapping):
        kwargs = {str(key): value for key, value in example.items()}
        if _binds(signature, (), kwargs) or not _binds(signature, (example,), {}):
            order = [*signature.parameters, *kwargs]
            return (), {key: kwargs[key] for key in sorted(kwargs, key=order.index)}
        return (example,), {}
    bare = isinstance(example, Tensor | np.ndarray) or hasattr(example, "_fields") or not isinstance(example, Iterable)
    args = (example,) if bare else tuple(example)
    alone = not bare and not _binds(signature, args, {}) and _binds(signature, (example,), {})
    return ((example,) if alone else args), {}


def _binds(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _parameters(module: nn.Module, count: int) -> list[str]:
    """Return a name for each of `count` positional arguments; those of `*args` are `args.0`, `args.1`..."""
    names: list[str] = []
    for name, parameter in inspect.signature(module.forward).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{name}.{i}" for i in range(count - len(names))]
        else:
            names.append(name)
    return names


def _paths(tree: Tree) -> list[tuple[Any, ...]]:
    return [tuple(map(_key, path)) for path, _ in _pytree.tree_flatten_with_path(tree)[0]]


def _key(key: Any) -> Any:
    return next((getattr(key, a) for a in ("idx", "key", "name") if hasattr(key, a)), str(key))


def _dotted(path: Sequence[Any]) -> str:
    return ".".join(map(str, path))


def _input_name(path: tuple[Any, ...], parameters: Sequence[str]) -> str:
    """Return the name of an input at a path of (args, kwargs)."""
    first = parameters[path[1]] if path[0] == 0 and path[1] < len(parameters) else path[1]
    return _dotted((first, *path[2:]))


def _output_name(path: tuple[Any, ...]) -> str:
    if not path:
        return "output"
    return f"output_{_dotted(path)}" if isinstance(path[0], int) else _dotted(path)
