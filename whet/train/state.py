"""Weights on disk: safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from whet.core.errors import ArtifactError
from whet.core.net import Net
from whet.support.files import whole

PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def module_of(net: Net | nn.Module) -> nn.Module:
    """Return what holds the parameters, whichever of the two is given."""
    return net.module if isinstance(net, Net) else net


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write tensors of any shapes with JSON metadata; the file appears whole or not at all."""
    copies = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    with whole(path) as part:
        save_file(copies, str(part), {"whet": json.dumps(dict(metadata or {}))})
    return path


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a file's tensors, in their shapes, and metadata; raise `ArtifactError` that says what else the file is."""
    if not path.is_file():
        raise ArtifactError(f"weights '{path}' do not exist.")
    try:
        with safe_open(str(path), "pt") as file:
            names = file.keys()
            return {n: file.get_tensor(n) for n in names}, json.loads((file.metadata() or {}).get("whet", "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        # Looked at last: a safetensors file whose header has a length of 0x0580 begins like a pickle.
        with path.open("rb") as file:
            start = file.read(4)
        if any(start.startswith(p) for p in PICKLE_STARTS):
            raise ArtifactError(
                f"'{path}' is a pickle and is not read, because unpickling can run any code. "
                "Convert it where you trust it: safetensors.torch.save_file(state_dict, 'weights.safetensors')."
            ) from error
        raise ArtifactError(f"'{path}' is truncated or no safetensors file: {error}") from error


def metadata_of(path: Path) -> dict[str, Any]:
    """Return the metadata of a file of weights, whose tensors are not read; raise `ArtifactError` as `read_tensors`."""
    try:
        with safe_open(str(path), "pt") as file:
            found: dict[str, Any] = json.loads((file.metadata() or {}).get("whet", "{}"))
            return found
    except (OSError, SafetensorError, json.JSONDecodeError):
        return read_tensors(path)[1]


def save_state(net: Net | nn.Module, path: Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write all parameters and buffers of `net`."""
    return write_tensors(module_of(net).state_dict(), path, metadata)


def load_state(path: Path, net: Net | nn.Module) -> dict[str, Any]:
    """Load what `save_state` wrote into `net`, in place; names and shapes must match. Returns the metadata."""
    tensors, metadata = read_tensors(path)
    own = module_of(net).state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    # torch counts batches in a tensor that older files lack and that no computation reads
    missing = [n for n in missing if not n.endswith("num_batches_tracked")]
    if missing or extra:
        what = f"lacks '{missing[0]}'" if missing else f"has '{extra[0]}', which the network has not"
        raise ArtifactError(f"'{path}' does not fit the network: it {what} ({len(missing) + len(extra)} names differ).")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise ArtifactError(
                f"'{path}' does not fit the network: '{name}' has shape {tuple(tensor.shape)}; "
                f"expected {tuple(own[name].shape)}."
            )
    module_of(net).load_state_dict(tensors, strict=False)
    return metadata
