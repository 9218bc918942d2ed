"""Tiny models of the transformers library beyond those in tests/architectures.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as T
from torch import Tensor, nn
from transformers.models.mobilevit.modeling_mobilevit import MobileViTTransformer

IMAGE: tuple[int, ...] = (2, 3, 64, 64)
TEXT: tuple[int, ...] = (2, 8)
SMALL = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


class First(nn.Module):
    """The first output of a model."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]


MODELS: dict[str, tuple[str, str, tuple[int, ...], dict[str, Any]]] = {
    "deberta": (
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        TEXT,
        {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "mixtral": (
        "MixtralForCausalLM",
        "MixtralConfig",
        TEXT,
        {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4, "num_hidden_layers": 1},
    ),
    "segformer": (
        "SegformerForImageClassification",
        "SegformerConfig",
        IMAGE,
        {"num_encoder_blocks": 2, "hidden_sizes": [8, 16], "depths": [1, 1], "num_attention_heads": [1, 2]},
    ),
    "mobilevit": (
        "MobileViTForImageClassification",
        "MobileViTConfig",
        IMAGE,
        {"image_size": 64, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32]},
    ),
}


def tiny(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return model `name` of `MODELS` in eval mode with example inputs of batch two."""
    torch.manual_seed(0)
    model, config, shape, options = MODELS[name]
    build: Callable[[Any], nn.Module] = getattr(T, model)
    net = build(getattr(T, config)(**options)).eval()
    net.config.use_cache = False  # type: ignore[union-attr,assignment]
    for module in net.modules():
        if isinstance(module, MobileViTTransformer):
            module.layer = module.layer[:1]  # its configuration has no word for how many there are
    example = torch.randint(0, 60, shape) if shape is TEXT else torch.randn(shape)
    return First(net), (example,)
