"""The architectures that lifting and cutting are tested on: the zoo, and small `transformers` models from a config."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

import whet
from whet.networks.digits_cnn import digits_cnn
from whet.networks.ds_cnn import DSCNN
from whet.networks.lstm import LSTM
from whet.networks.mlp import MLP
from whet.networks.mobilenetv2 import MobileNetV2
from whet.networks.resnet import resnet
from whet.networks.transformer import Decoder, Encoder

Sample = tuple[nn.Module, tuple[Tensor, ...]]


class First(nn.Module):
    """A `transformers` model that returns its first output alone."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__()
        self.model, self.options = model, options

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.model(x, return_dict=False, **self.options)[0]
        return output


def _image(size: int = 32, channels: int = 3) -> tuple[Tensor, ...]:
    return (torch.randn(2, channels, size, size),)


def _tokens(length: int = 12, vocabulary: int = 64) -> tuple[Tensor, ...]:
    return (torch.randint(1, vocabulary, (2, length)),)


TEXT = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 32, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "image_size": 32,
    "patch_size": 8, "num_labels": 5,
}  # fmt: skip


def _classifier(name: str, **config: Any) -> nn.Module:
    return First(getattr(hf, f"{name}ForImageClassification")(getattr(hf, f"{name}Config")(**config)))


def _resnet() -> Sample:
    stages = {"embedding_size": 16, "hidden_sizes": [16, 24, 32], "depths": [2, 2, 1], "num_labels": 5}
    return _classifier("ResNet", layer_type="basic", **stages), _image()


def _regnet() -> Sample:
    stages = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2], "groups_width": 8, "num_labels": 5}
    return _classifier("RegNet", **stages), _image()


def _efficientnet() -> Sample:
    """Three of its seven stages: both kernels, with and without expansion and stride, one of two blocks."""
    config = {
        "width_coefficient": 0.5, "depth_coefficient": 1.0, "image_size": 32, "hidden_dim": 640, "num_labels": 5,
        "pooling_type": "mean", "kernel_sizes": [3, 3, 5], "in_channels": [32, 16, 24], "out_channels": [16, 24, 40],
        "strides": [1, 2, 2], "num_block_repeats": [1, 2, 1], "expand_ratios": [1, 6, 6],
    }  # fmt: skip
    return _classifier("EfficientNet", **config), _image()


def _mobilenetv2() -> Sample:
    """Every block that changes channels or stride, and the first of those that change neither."""
    model = hf.MobileNetV2ForImageClassification(
        hf.MobileNetV2Config(depth_multiplier=0.35, image_size=32, num_labels=5)
    )
    blocks = model.mobilenet_v2.layer
    same = [i for i, block in enumerate(blocks) if block.use_residual]
    model.mobilenet_v2.layer = nn.ModuleList(block for i, block in enumerate(blocks) if i not in same[1:])
    return First(model), _image()


def _convnext() -> Sample:
    return _classifier("ConvNext", hidden_sizes=[16, 24, 32, 40], depths=[1, 1, 2, 1], num_labels=5), _image(64)


def _poolformer() -> Sample:
    return _classifier("PoolFormer", hidden_sizes=[16, 24, 32, 40], depths=[1, 1, 1, 1], num_labels=5), _image(64)


def _swin() -> Sample:
    config = {
        "image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4], "window_size": 4,
        "num_labels": 5,
    }  # fmt: skip
    return _classifier("Swin", **config), _image()


def _levit() -> Sample:
    config = {
        "image_size": 64, "hidden_sizes": [16, 24], "num_attention_heads": [2, 3], "depths": [1, 1], "key_dim": [8, 8],
        "mlp_ratio": [2, 2], "attention_ratio": [2, 2], "num_labels": 5, "drop_path_rate": 0,
        "down_ops": [["Subsample", 8, 2, 4, 2, 2]],
    }  # fmt: skip
    return _classifier("Levit", **config), _image(64)


def _text(name: str, suffix: str = "ForMaskedLM", **config: Any) -> Sample:
    model = getattr(hf, f"{name}{suffix}")(getattr(hf, f"{name}Config")(**config))
    return First(model), _tokens()


def _t5_encoder() -> Sample:
    config = hf.T5Config(
        vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    return First(hf.T5EncoderModel(config)), _tokens()


def _causal(name: str, suffix: str = "ForCausalLM", **config: Any) -> Sample:
    model = getattr(hf, f"{name}{suffix}")(getattr(hf, f"{name}Config")(**config))
    return First(model, use_cache=False), _tokens()


ARCHITECTURES: dict[str, Callable[[], Sample]] = {
    "resnet20": lambda: (resnet(20), _image()),
    "mobilenetv2": lambda: (MobileNetV2(10, 0.5, 32), _image()),
    "ds_cnn": lambda: (DSCNN(), (torch.randn(2, 1, 49, 10),)),
    "digits_cnn": lambda: (digits_cnn(), _image(8, 1)),
    "mlp": lambda: (MLP(9, width=32, hidden=48), (torch.randn(2, 9),)),
    "lstm": lambda: (LSTM(64, 16), _tokens()),
    "encoder": lambda: (Encoder(16, 5, 12, 32, 4, 2), (torch.randn(2, 12, 16),)),
    "decoder": lambda: (Decoder(64, 12, 32, 4, 2), _tokens()),
    "hf_resnet": _resnet,
    "hf_regnet": _regnet,
    "hf_mobilenetv2": _mobilenetv2,
    "hf_efficientnet": _efficientnet,
    "hf_convnext": _convnext,
    "hf_poolformer": _poolformer,
    "hf_vit": lambda: (_classifier("ViT", **VISION), _image()),
    "hf_deit": lambda: (_classifier("DeiT", **VISION), _image()),
    "hf_swin": _swin,
    "hf_levit": _levit,
    "hf_bert": lambda: _text("Bert", **TEXT),
    "hf_distilbert": lambda: _text("DistilBert", vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
    "hf_roberta": lambda: _text("Roberta", **{**TEXT, "pad_token_id": 1}),
    "hf_gpt2": lambda: _causal("GPT2", "LMHeadModel", vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=32),
    "hf_t5_encoder": _t5_encoder,
    "hf_llama": lambda: _causal("Llama", **TEXT, num_key_value_heads=2),
    "hf_mamba": lambda: (  # its graph holds each step of the scan
        _causal("Mamba", vocab_size=64, hidden_size=16, state_size=4, num_hidden_layers=2)[0],
        _tokens(4),
    ),
}


TWINS = {
    "hf_resnet": "resnet20", "hf_mobilenetv2": "mobilenetv2", "hf_deit": "hf_vit", "hf_distilbert": "hf_bert",
    "hf_roberta": "hf_bert", "digits_cnn": "resnet20",
}  # fmt: skip
"""Networks of the same operations as another: what takes seconds each is tested on the other alone."""
OF_EACH_KIND = [name for name in ARCHITECTURES if name not in TWINS]


def build(name: str) -> Sample:
    """Return architecture `name` in eval mode with example inputs of batch two; norms hold random statistics."""
    torch.manual_seed(0)
    module, example = ARCHITECTURES[name]()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
    return module.eval(), example


@cache
def lifted(name: str) -> tuple[nn.Module, tuple[Tensor, ...], whet.Net]:
    """Return an architecture, its example and the net of it, once for all tests of a process: copy what you change."""
    module, example = build(name)
    return module, example, whet.lift(module, example, check=False)
