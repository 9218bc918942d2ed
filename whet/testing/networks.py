"""Small untrained networks, one for each way of building residual blocks, for the conformance suites."""

# A module's call returns Any.
# mypy: disable-error-code=no-any-return

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Sample = tuple[nn.Module, tuple[Tensor, ...]]


class BasicBlock(nn.Module):
    """y = relu(shortcut(x) + f(x)); a shortcut that changes shape is a projection or strided slices and zeros."""

    def __init__(self, inside: int, outside: int, stride: int, projection: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.stride, self.extra = stride, outside - inside
        self.projection: nn.Module | None = None
        if projection and stride > 1:
            self.projection = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + f(x)): (N, in, H, W) to (N, out, H / stride, W / stride)."""
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.projection is not None:
            x = self.projection(x)
        elif self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        return F.relu(x + branch)


class ResidualNet(nn.Module):
    """A CIFAR-style residual network of three stages; `blocks` 3 and 9 are the depths 20 and 56."""

    def __init__(self, blocks: int = 3, width: int = 16, projection: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inside = width
        for stage, outside in enumerate((width, 2 * width, 4 * width)):
            strides = [2 if stage and i == 0 else 1 for i in range(blocks)]
            row = [BasicBlock(inside if i == 0 else outside, outside, s, projection) for i, s in enumerate(strides)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*row))
            inside = outside
        self.fc = nn.Linear(inside, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of images (N, 3, H, W)."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in (1, 2, 3):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project: the block of MobileNetV2."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        hidden = 4 * inside
        self.conv = nn.Sequential(
            nn.Sequential(nn.Conv2d(inside, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()),
            nn.Sequential(
                nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU6(),
            ),
            nn.Conv2d(hidden, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(x) where the shapes agree, else f(x); images (N, C, H, W)."""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNet(nn.Module):
    """Three stages of inverted residuals between a convolution and a head."""

    def __init__(self) -> None:
        super().__init__()
        widths = [(8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 16, 1), (16, 24, 2)]
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()),
            *(InvertedResidual(*w) for w in widths),
        )
        self.classifier = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of images (N, 3, H, W)."""
        return self.classifier(self.features(x).mean((2, 3)))


class Attention(nn.Module):
    """Multi-head attention over `memory`, or over x itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor, memory: Tensor | None = None, causal: bool = False) -> Tensor:
        """Return (N, length, width) of x (N, length, width), which looks at `memory` (N, other length, width)."""
        source = x if memory is None else memory
        q, k, v = (
            layer(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, t in ((self.query, x), (self.key, source), (self.value, source))
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A transformer layer: `order` is `pre`, `post` or `parallel`; `cross` adds attention to a memory."""

    def __init__(self, width: int, order: str = "pre", cross: bool = False) -> None:
        super().__init__()
        self.order = order
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, 4)
        if cross:
            self.norm3, self.cross = nn.LayerNorm(width), Attention(width, 4)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return the branch of two linear layers, of the shape of x: (N, length, width)."""
        return self.scale * self.down(F.gelu(self.up(x)))

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Return (N, length, width) of x and, with `cross`, of a memory (N, other length, width)."""
        if self.order == "post":
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.feed_forward(x))
        if self.order == "parallel":
            shared = self.norm1(x)
            return self.norm2(x + self.attention(shared) + self.feed_forward(shared))
        x = x + self.attention(self.norm1(x), causal=memory is not None)
        if memory is not None:
            x = x + self.cross(self.norm3(x), memory)
        return x + self.feed_forward(self.norm2(x))


class Transformer(nn.Module):
    """Token and position embedding, layers, a head; a decoder reads a second input, the encoder's memory."""

    def __init__(self, order: str = "pre", decoder: bool = False, layers: int = 3, width: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(50, width)
        self.position = nn.Parameter(torch.randn(1, 12, width))
        self.layers = nn.ModuleList(Layer(width, order, decoder) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 7)

    def forward(self, tokens: Tensor, memory: Tensor | None = None) -> Tensor:
        """Return logits (N, length, classes) of tokens (N, length); a decoder takes a memory (N, M, width) too."""
        x = self.tokens(tokens) + self.position
        for layer in self.layers:
            x = layer(x, memory)
        return self.head(self.norm(x).mean(1))


class VisionTransformer(nn.Module):
    """Patches as tokens, two layers, and a head on their mean."""

    def __init__(self, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.first = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.ModuleList(Layer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of images (N, 3, H, W)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class UNet(nn.Module):
    """A long additive skip around two residual blocks, and a head of two embeddings of different inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 8, 3, 1, 1)
        self.down = nn.Conv2d(8, 16, 3, 2, 1)
        self.inner = nn.Sequential(BasicBlock(16, 16, 1, False), BasicBlock(16, 16, 1, False))
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.leave = nn.Conv2d(8, 4, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's sum for images (N, 3, H, W)."""
        skip = F.relu(self.enter(x))
        return self.leave(F.relu(skip + self.up(self.inner(self.down(skip)))))


class Detector(nn.Module):
    """Two heads over two maps, as detectors have them: boxes and scores of all places, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.block = nn.Conv2d(3, 12, 3, 2, 1), BasicBlock(12, 12, 1, False)
        self.down = nn.Conv2d(12, 16, 3, 2, 1)
        self.boxes = nn.ModuleList([nn.Conv2d(12, 8, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)])
        self.scores = nn.ModuleList([nn.Conv2d(12, 6, 3, padding=1), nn.Conv2d(16, 6, 3, padding=1)])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return `boxes` and `scores` of all places of both maps for images (N, 3, H, W)."""
        first = self.block(F.relu(self.enter(x)))
        maps = first, F.relu(self.down(first))
        heads = {"boxes": (self.boxes, 4), "scores": (self.scores, 3)}
        return {
            name: torch.cat([h(m).permute(0, 2, 3, 1).reshape(m.shape[0], -1, size) for h, m in zip(layers, maps)], 1)
            for name, (layers, size) in heads.items()
        }


def _image() -> tuple[Tensor, ...]:
    return (torch.randn(2, 3, 32, 32),)


def _tokens() -> Tensor:
    return torch.randint(0, 50, (2, 12))


NETWORKS: dict[str, Callable[[], Sample]] = {
    "resnet20": lambda: (ResidualNet(3), _image()),
    "resnet20_projection": lambda: (ResidualNet(3, projection=True), _image()),
    "mobilenet": lambda: (MobileNet(), _image()),
    "vision_transformer": lambda: (VisionTransformer(), _image()),
    "encoder": lambda: (Transformer(), (_tokens(),)),
    "encoder_post_norm": lambda: (Transformer("post"), (_tokens(),)),
    "encoder_parallel": lambda: (Transformer("parallel"), (_tokens(),)),
    "decoder": lambda: (Transformer(decoder=True), (_tokens(), torch.randn(2, 9, 32))),
    "unet": lambda: (UNet(), _image()),
    "detector": lambda: (Detector(), _image()),
}


def make(name: str, seed: int = 0) -> Sample:
    """Return network `name` of `NETWORKS` in eval mode with example inputs; norms hold random statistics."""
    torch.manual_seed(seed)
    module, example = NETWORKS[name]()
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
                layer.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.2)
    return module.eval(), example
