"""Small networks, each built around one way in which dimensions hang together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import weight_norm

Sample = tuple[nn.Module, tuple[Tensor, ...]]


class Bracketed(nn.Module):
    """A structure of `width` features between an embedding and a head."""

    def __init__(self, width: int, inner: nn.Module, image: bool = False) -> None:
        super().__init__()
        self.enter: nn.Module = nn.Conv2d(3, width, 3, 1, 1) if image else nn.Linear(5, width)
        self.inner = inner
        self.leave = nn.LazyLinear(4)
        self.image = image

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(self.enter(x))
        return self.leave(F.relu(x).mean((2, 3)) if self.image else x)


class GroupedQueryAttention(nn.Module):
    """Rotary positions, fewer key heads than query heads, the keys repeated by a stretch and a reshape."""

    def __init__(self, width: int = 16, heads: int = 4, keys: int = 2, tokens: int = 6) -> None:
        super().__init__()
        self.heads, self.keys, self.size = heads, keys, width // heads
        self.q, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.v = (nn.Linear(width, keys * self.size) for _ in range(2))
        angle = torch.outer(torch.arange(tokens), torch.rand(self.size // 2)).repeat(1, 2)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def turn(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat([-b, a], -1) * self.sin

    def repeat(self, x: Tensor) -> Tensor:
        b, h, n, d = x.shape
        times = self.heads // self.keys
        return x[:, :, None].expand(b, h, times, n, d).reshape(b, self.heads, n, d)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (f(x).view(b, n, -1, self.size).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = self.turn(q) @ self.repeat(self.turn(k)).transpose(-1, -2) * self.size**-0.5
        return x + self.o((scores.softmax(-1) @ self.repeat(v)).transpose(1, 2).reshape(b, n, -1))


class NativeGroupedAttention(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(width, 16), nn.Linear(width, 8), nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (-1, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2)


class FusedAttention(nn.Module):
    """One projection for queries, keys and values, laid out as (3, heads, features)."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width))


class TorchAttention(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x, x, need_weights=False)[0]


class BiasedAttention(nn.Module):
    """A table of biases a head, looked up by relative position, and a key smaller than the value (LeViT)."""

    def __init__(self, width: int = 16, heads: int = 4, tokens: int = 6) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, heads * (3 + 3 + 5)), nn.Linear(heads * 5, width)
        self.biases = nn.Parameter(torch.randn(heads, tokens))
        place = torch.arange(tokens)
        self.register_buffer("index", (place[:, None] - place).abs())

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, self.heads, -1).split([3, 3, 5], 3)
        q, k, v = (t.permute(0, 2, 1, 3) for t in (q, k, v))
        weights = (q @ k.transpose(-2, -1) * 3**-0.5 + self.biases[:, self.index]).softmax(-1)
        return x + self.out(F.hardswish((weights @ v).transpose(1, 2).reshape(b, n, -1)))


class ShiftedWindows(nn.Module):
    """Windows of 2 x 2 on a rolled 4 x 4 map, relative position biases, and patch merging (Swin)."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.norm, self.norm2 = heads, nn.LayerNorm(width), nn.LayerNorm(4 * width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.randn(9, heads))
        self.register_buffer("index", torch.randint(0, 9, (16,)))
        self.merge = nn.Linear(4 * width, 2 * width, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index].view(4, 4, -1).permute(2, 0, 1).unsqueeze(0)
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(b, n, c))

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        y = torch.roll(self.norm(x), (-1, -1), (1, 2))
        y = y.view(b, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)
        y = self.attend(y).view(b, h // 2, w // 2, 2, 2, c).transpose(2, 3).reshape(b, h, w, c)
        x = x + torch.roll(y, (1, 1), (1, 2))
        x = torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
        return self.merge(self.norm2(x)).permute(0, 3, 1, 2)


class SelectiveScan(nn.Module):
    """Mamba's recurrence, unrolled: state (inner, n), input-dependent steps."""

    def __init__(self, width: int = 16, inner: int = 12, state: int = 3) -> None:
        super().__init__()
        self.state, self.enter, self.out = state, nn.Linear(width, 2 * inner), nn.Linear(inner, width)
        self.conv = nn.Conv1d(inner, inner, 3, padding=2, groups=inner)
        self.x, self.dt = nn.Linear(inner, 4 + 2 * state), nn.Linear(4, inner)
        self.A, self.D = nn.Parameter(torch.rand(inner, state)), nn.Parameter(torch.rand(inner))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        u, gate = self.enter(x).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., :n].transpose(1, 2))
        dt, b, c = self.x(u).split([4, self.state, self.state], -1)
        dt = F.softplus(self.dt(dt))
        keep = torch.exp(dt.unsqueeze(-1) * -self.A.exp())
        add = (dt * u).unsqueeze(-1) * b.unsqueeze(2)
        h, outs = torch.zeros_like(add[:, 0]), []
        for t in range(n):
            h = keep[:, t] * h + add[:, t]
            outs.append(torch.einsum("ben,bn->be", h, c[:, t]))
        return x + self.out((torch.stack(outs, 1) + u * self.D) * F.silu(gate))


class Experts(nn.Module):
    """All experts at once, weighted by a softmax of gates; a root-mean-square norm spelled in primitives."""

    def __init__(self, width: int = 16, hidden: int = 8, experts: int = 5) -> None:
        super().__init__()
        self.scale, self.gate = nn.Parameter(torch.rand(width)), nn.Linear(width, experts)
        self.up = nn.Parameter(torch.randn(experts, width, hidden) / 4)
        self.down = nn.Parameter(torch.randn(experts, hidden, width) / 4)

    def forward(self, x: Tensor) -> Tensor:
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale
        hidden = torch.einsum("bnd,edh->bneh", y, self.up).relu()
        return x + torch.einsum("bneh,ehd,bne->bnd", hidden, self.down, self.gate(y).softmax(-1))


class TiedLanguageModel(nn.Module):
    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.tokens, self.position = nn.Embedding(20, width), nn.Embedding(6, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.head = nn.Linear(width, 20, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.position(torch.arange(6))
        a, b = self.up(x).split([12, 12], -1)
        return self.head(x + self.down(a * b.sigmoid()))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.cell = kind(16, 6, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


class Shuffled(nn.Module):
    """Grouped convolution, channel shuffle, depthwise convolution, group norm, a split that shortcuts (ShuffleNet)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.first, self.depth = nn.Conv2d(width, 48, 3, 1, 1, groups=4), nn.Conv2d(48, 48, 3, 1, 1, groups=48)
        self.norm, self.last = nn.GroupNorm(4, 48), nn.Conv2d(24, 24, 1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(x))
        b, c, h, w = y.shape
        y = y.view(b, 4, c // 4, h, w).transpose(1, 2).reshape(b, c, h, w)
        left, right = F.relu(self.norm(self.depth(y))).chunk(2, 1)
        return torch.cat([left, self.last(right)], 1)


class Dense(nn.Module):
    """Concatenated features and squeeze-and-excitation (DenseNet)."""

    def __init__(self, width: int = 8, growth: int = 4) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width + i * growth) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(width + i * growth, growth, 3, 1, 1) for i in range(3))
        self.squeeze, self.excite = nn.Conv2d(20, 5, 1), nn.Conv2d(5, 20, 1)

    def forward(self, x: Tensor) -> Tensor:
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))


class PaddedShortcut(nn.Module):
    """A shortcut of strided slices with zeros on both sides (option A), then a flattened classifier."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1)
        self.up, self.linear = nn.Conv2d(16, 16, 1), nn.Linear(4 * 16, 12)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(F.relu(self.a(x))) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        y = F.avg_pool2d(F.pixel_shuffle(self.up(F.relu(y)), 2), 2)
        y = torch.cat([y, y[:, [2, 0, 1, 3]], y.flip(1), y[:, ::2], y[:, 1:4]], 1)[:, 1:17]
        return self.linear(y.repeat(1, 1, 2, 2)[:, :, 1:3, 1:3].flatten(1))[:, :, None, None]


class Upsampled(nn.Module):
    """Transposed and grouped convolutions, instance norm, a slope a channel, a gated unit with normed weights."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 12, 2, 2), nn.ConvTranspose2d(12, 12, 2, 2, groups=3)
        self.mix, self.norm = nn.ConvTranspose2d(12, width, 3, 1, 1), nn.InstanceNorm2d(width, affine=True)
        self.slope, self.gate = nn.PReLU(width), weight_norm(nn.Conv2d(width, 2 * width, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = F.interpolate(F.max_pool2d(self.up(self.down(x)), 2), scale_factor=2)
        return x + self.slope(self.norm(self.mix(y))) + F.glu(self.gate(x), 1)


def _sequence(inner: nn.Module) -> Sample:
    return Bracketed(16, inner), (torch.randn(3, 6, 5),)


def _image(width: int, inner: nn.Module) -> Sample:
    return Bracketed(width, inner, image=True), (torch.randn(3, 3, 4, 4),)


STRUCTURES: dict[str, Callable[[], Sample]] = {
    "grouped_query_attention": lambda: _sequence(GroupedQueryAttention()),
    "native_grouped_attention": lambda: _sequence(NativeGroupedAttention()),
    "fused_attention": lambda: _sequence(FusedAttention()),
    "torch_attention": lambda: _sequence(TorchAttention()),
    "biased_attention": lambda: _sequence(BiasedAttention()),
    "shifted_windows": lambda: _image(16, ShiftedWindows()),
    "selective_scan": lambda: _sequence(SelectiveScan()),
    "experts": lambda: _sequence(Experts()),
    "tied_language_model": lambda: (TiedLanguageModel(), (torch.randint(0, 20, (3, 6)),)),
    "recurrent_lstm": lambda: _sequence(Recurrent()),
    "recurrent_gru": lambda: _sequence(Recurrent(nn.GRU)),
    "shuffled": lambda: _image(24, Shuffled()),
    "dense": lambda: _image(8, Dense()),
    "padded_shortcut": lambda: _image(8, PaddedShortcut()),
    "upsampled": lambda: _image(8, Upsampled()),
}


def build(name: str) -> Sample:
    """Return structure `name` in eval mode, with example inputs of batch three."""
    torch.manual_seed(0)
    module, example = STRUCTURES[name]()
    with torch.no_grad():
        module(*example)
    return module.eval(), example
