"""Networks in Hugging Face's layout: a folder with `config.json` and weights in safetensors, by `transformers`."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.errors import LiftError

CONFIG = "config.json"
TOKENS = 128
SOUND_SAMPLES = 16_000
"""How long the example of a text or a sound is that nobody gives, where the network takes so much."""


def read_folder(folder: Path, example: Any = None) -> tuple[nn.Module, Any]:
    """Return the network of a folder, in eval mode and float32, and its example inputs, by default made up.

    Only code of the installed `transformers` runs, none of the folder's, and nothing is fetched.
    Raises: LiftError without the library, for an architecture that it does not have, and for weights that are missing
    or only pickled.
    """
    own = _config(folder)
    try:
        library = import_module("transformers")
    except ImportError:
        raise LiftError(f"'{folder}' is in Hugging Face's layout: pip install transformers reads it.") from None
    named = (own.get("architectures") or [""])[0]
    kind = getattr(library, named, None) if named else library.AutoModel
    if kind is None:
        more = " Its own code is not run." if own.get("auto_map") else ""
        raise LiftError(f"'{folder}': transformers {library.__version__} has no architecture '{named}'.{more}")
    if not any(folder.glob("*.safetensors")):
        others = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
        raise LiftError(
            f"'{folder}' has no weights in safetensors"
            + (f" but {others}, a pickle, which is not read: save them with safe_serialization." if others else ".")
        )
    library.utils.logging.disable_progress_bar()
    try:
        module, told = kind.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # the library raises errors of many kinds
        raise LiftError(
            f"'{folder}' does not load: {type(error).__name__}: {str(error).splitlines()[0]:.300}"
        ) from error
    if missing := sorted(told["missing_keys"]):
        raise LiftError(f"'{folder}' lacks weights of {len(missing)} parameters: {', '.join(missing[:3])}.")
    if hasattr(module.config, "use_cache"):
        module.config.use_cache = False
    module.eval()
    return module, made_up(module) if example is None else example


def _config(folder: Path) -> dict[str, Any]:
    try:
        own: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise LiftError(f"'{folder / CONFIG}' is no JSON: {error}") from None
    if "model_type" not in own:
        raise LiftError(f"'{folder / CONFIG}' names no model_type: it is no network of transformers.")
    return own


def made_up(module: Any) -> dict[str, Tensor]:
    """Return inputs of two samples, by name, as a network of transformers takes them: (2, tokens), (2, C, H, W)...

    Raises: LiftError for an input of another kind than text, images and sound.
    """
    name = str(module.main_input_name)
    if name not in INPUTS:
        raise LiftError(f"{type(module).__name__} takes '{name}': no example of it can be made up; give data.")
    return INPUTS[name](module.config)


def _text(config: Any) -> dict[str, Tensor]:
    length = min(TOKENS, getattr(config, "max_position_embeddings", TOKENS) or TOKENS)
    ids = torch.randint(0, config.vocab_size, (2, length), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _images(config: Any) -> dict[str, Tensor]:
    size = getattr(config, "image_size", 224)
    edges = (size, size) if isinstance(size, int) else tuple(size)
    channels = getattr(config, "num_channels", 3)
    return {"pixel_values": torch.randn(2, channels, *edges, generator=torch.Generator().manual_seed(0))}


def _sound(config: Any) -> dict[str, Tensor]:
    return {"input_values": torch.randn(2, SOUND_SAMPLES, generator=torch.Generator().manual_seed(0))}


INPUTS: dict[str, Callable[[Any], dict[str, Tensor]]] = {
    "input_ids": _text,
    "pixel_values": _images,
    "input_values": _sound,
}
"""How inputs are made up, by the name of the network's main one."""
