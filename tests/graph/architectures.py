"""Small networks of every kind that people prune, with an example each."""

import math

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune
from torch.nn.utils import weight_norm as old_weight_norm
from traced import Net
from zoo import ZOO

X, IMAGE, TOKENS = (2, 5, 8), (2, 3, 8, 8), (2, 5)


class Attention(nn.Module):
    """Attention of heads of one size, however many there are."""

    def __init__(self, width, heads, *, sdpa=True, shared=1, rotary=False, norm=False):
        super().__init__()
        self.size, self.sdpa, self.shared, self.rotary = width // heads, sdpa, shared, rotary
        self.q, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.v = (nn.Linear(width, width // shared) for _ in range(2))
        self.norm = nn.RMSNorm(self.size) if norm else nn.Identity()

    def split(self, layer, x):
        return layer(x).view(*x.shape[:2], -1, self.size).transpose(1, 2)

    def turn(self, x):
        angles = torch.arange(x.shape[2])[:, None] / 10 ** (torch.arange(self.size) // 2)
        left, right = x.chunk(2, -1)
        return x * angles.cos() + torch.cat([-right, left], -1) * angles.sin()

    def forward(self, x, mask=None):
        q, k, v = (self.split(layer, x) for layer in (self.q, self.k, self.v))
        q, k = self.norm(q), self.norm(k)
        if self.rotary:
            q, k = self.turn(q), self.turn(k)
        if self.shared > 1:
            k, v = (part.repeat_interleave(self.shared, 1) for part in (k, v))
        if self.sdpa:
            found = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.size)
            found = (scores if mask is None else scores + mask).softmax(-1) @ v
        return self.out(found.transpose(1, 2).reshape(*x.shape[:2], -1))


class ViT(nn.Module):
    """Patches behind a token, with positions; one block."""

    def __init__(self, **options):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.positions, self.attention = nn.Parameter(torch.randn(1, 5, 8)), Attention(8, 2, **options)
        self.norms = nn.ModuleList([nn.LayerNorm(8) for _ in range(3)])
        self.up, self.down, self.head = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        x = x + self.attention(self.norms[0](x))
        x = x + self.down(functional.gelu(self.up(self.norms[1](x))))
        return self.head(self.norms[2](x)[:, 0])


class SqueezeExcite(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1)

    def forward(self, x):
        return x * self.up(self.down(functional.adaptive_avg_pool2d(x, 1)).relu()).sigmoid()


class Inverted(nn.Module):
    """A block of MobileNet."""

    def __init__(self, width, inner, out):
        super().__init__()
        self.block = nn.Sequential(
            *(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.Hardswish()),
            *(nn.Conv2d(inner, inner, 3, 1, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()),
            SqueezeExcite(inner, 3),
            *(nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)),
        )
        self.skips = width == out

    def forward(self, x):
        return x + self.block(x) if self.skips else self.block(x)


class ConvNeXt(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm, self.up, self.down = norm, nn.Linear(4, 10), nn.Linear(10, 4)
        self.scale, self.head = nn.Parameter(torch.randn(4)), nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.depthwise(x)).permute(0, 2, 3, 1)
        y = self.scale * self.down(functional.gelu(self.up(y)))
        return self.head((x + y.permute(0, 3, 1, 2)).mean((2, 3)))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class WrittenLayerNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))

    def forward(self, x):
        centred = x - x.mean(1, keepdim=True)
        normed = centred / (centred.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()
        return self.weight[:, None, None] * normed + self.bias[:, None, None]


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.up, self.both, self.out = nn.ConvTranspose2d(6, 4, 2, 2), nn.Conv2d(8, 5, 1), nn.Conv2d(5, 2, 1)

    def forward(self, x):
        wide = self.wide(x).relu()
        deep = self.up(self.deep(functional.max_pool2d(wide, 2)).relu())
        return self.out(self.both(torch.cat([deep, wide], 1)).relu())


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.each, self.norm, self.all = nn.Conv1d(3, 6, 1), nn.BatchNorm1d(6), nn.Conv1d(6, 8, 1)
        self.out = nn.Conv1d(14, 5, 1)

    def forward(self, x):
        each = self.norm(self.each(x)).relu()
        whole = self.all(each).max(2)[0].unsqueeze(-1).expand(-1, -1, x.shape[2])
        return self.out(torch.cat([each, whole], 1))


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.mean, self.spread = nn.Linear(8, 6), nn.Linear(6, 3), nn.Linear(6, 3)
        self.leave, self.out = nn.Linear(3, 6), nn.Linear(6, 8)

    def forward(self, x):
        hidden = self.enter(x).relu()
        spread = torch.exp(0.5 * self.spread(hidden))
        return self.out(self.leave(self.mean(hidden) + torch.ones_like(spread) * spread).relu())


class TiedAutoencoder(nn.Module):
    """The decoder's weights are those of the encoder, turned."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(4, 6))
        for name, size in {"a": 6, "b": 4, "c": 6, "d": 8}.items():
            self.register_parameter(name, nn.Parameter(torch.randn(size)))

    def forward(self, x):
        code = functional.linear(functional.linear(x, self.first, self.a).relu(), self.second, self.b).relu()
        hidden = functional.linear(code, self.second.t(), self.c).relu()
        return functional.linear(hidden, self.first.t(), self.d)


class LanguageModel(nn.Module):
    """An LSTM whose decoder is tied to its embedding."""

    def __init__(self):
        super().__init__()
        self.table, self.lstm = nn.Embedding(11, 6), nn.LSTM(6, 6, 2, batch_first=True)
        self.hidden, self.decoder = nn.Linear(6, 6), nn.Linear(6, 11)
        self.decoder.weight = self.table.weight

    def forward(self, tokens):
        return self.decoder(self.hidden(self.lstm(self.table(tokens))[0]).tanh())


class Snake(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.alpha = nn.Parameter(torch.rand(1, width, 1) + 0.5)

    def forward(self, x):
        return x + torch.sin(self.alpha * x).pow(2) / self.alpha


def relative(net, x):
    """Attention with a learned bias for each distance and head."""
    q, k, v = (layer(x).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in (net.q, net.k, net.v))
    distance = torch.arange(5)[:, None] - torch.arange(5) + 4
    bias = net.table[distance.view(-1)].view(5, 5, -1).permute(2, 0, 1)[None]
    return net.out(((q @ k.transpose(-2, -1) + bias).softmax(-1) @ v).transpose(1, 2).flatten(2))


def einsum(net, x):
    q, k, v = (layer(x).unflatten(-1, (-1, 4)) for layer in (net.q, net.k, net.v))
    weights = torch.einsum("bthd,bshd->bhts", q, k).softmax(-1)
    return net.out(torch.einsum("bhts,bshd->bthd", weights, v).flatten(2))


def heads(run, **more):
    return Net(run, q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 8), out=nn.Linear(8, 3), **more)


def between(middle):
    """A layer before and one behind."""
    run = lambda net, x, *more: net.last(net.middle(net.first(x), *more))  # noqa: E731
    return Net(run, first=nn.Linear(8, 8), middle=middle, last=nn.Linear(8, 3))


def masked():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    for layer in (model[0], model[2]):
        prune.l1_unstructured(layer, "weight", 0.3)
    return model


def gated(net, x):
    left, right = net.both(x).chunk(2, -1)
    return net.out(functional.silu(left) * right)


def scaled(net, x):
    return net.out(torch.mul(net.conv(x), net.scale.exp()).relu() + net.shift[:, :, None, None])


def spread(net, x):
    x = net.conv(x)
    return net.out(torch.cat([x, x.cumsum(2) * x.std((2, 3), keepdim=True)], 1))


def film(net, x, condition):
    gain, bias = (layer(condition)[:, :, None, None] for layer in (net.gain, net.bias))
    return net.out((net.conv(x) * (1 + gain) + bias).relu())


def conv(columns, units, size=1, **options):
    return nn.Conv2d(columns, units, size, **options)


def images(run, read=4, **more):
    return Net(run, conv=conv(3, 4), out=conv(read, 2), **more)


ARCHITECTURES = {
    "attention, written out, masked": (lambda: between(Attention(8, 4, sdpa=False)), X, (2, 1, 1, 5)),
    "attention, rotary": (lambda: between(Attention(8, 4, rotary=True)), X),
    "attention, shared keys": (lambda: between(Attention(8, 4, shared=2, rotary=True, sdpa=False)), X),
    "attention, one key": (lambda: between(Attention(8, 4, shared=4)), X),
    "attention, normed by head": (lambda: between(Attention(8, 4, norm=True)), X),
    "attention, learned distances": (lambda: heads(relative, table=nn.Embedding(9, 2).weight), X),
    "attention, einsum": (lambda: heads(einsum), X),
    "vit": (lambda: ViT(), IMAGE),
    "mobilenet": (
        lambda: nn.Sequential(conv(3, 4, 3), Inverted(4, 8, 4), Inverted(4, 8, 6), nn.Flatten(), nn.Linear(216, 2)),
        IMAGE,
    ),
    "convnext": (lambda: ConvNeXt(LayerNorm2d(4)), IMAGE),
    "convnext, its norm written out": (lambda: ConvNeXt(WrittenLayerNorm(4)), IMAGE),
    "u-net": (UNet, IMAGE),
    "pointnet": (PointNet, (2, 3, 7)),
    "generator": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(5, 8, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh()
        ),
        (2, 5, 1, 1),
    ),
    "vae": (VAE, X),
    "tied autoencoder": (TiedAutoencoder, X),
    "weight_norm": (
        lambda: nn.Sequential(*(parametrizations.weight_norm(nn.Linear(*size)) for size in ((8, 6), (6, 5), (5, 2)))),
        X,
    ),
    "weight_norm, by hooks": (lambda: nn.Sequential(old_weight_norm(conv(3, 6)), old_weight_norm(conv(6, 5))), IMAGE),
    "weight_norm, of a transposed convolution": (
        lambda: nn.Sequential(conv(3, 4), old_weight_norm(nn.ConvTranspose2d(4, 6, 3)), conv(6, 2)),
        IMAGE,
    ),
    "pruned by torch": (masked, X),
    "prelu": (
        lambda: nn.Sequential(conv(3, 4), nn.PReLU(4), nn.Flatten(), nn.Linear(256, 6), nn.PReLU(6), nn.Linear(6, 2)),
        IMAGE,
    ),
    "group norm": (
        lambda: nn.Sequential(conv(3, 8), nn.GroupNorm(4, 8), conv(8, 6), nn.GroupNorm(6, 6), nn.ReLU(), conv(6, 2)),
        IMAGE,
    ),
    "one group": (lambda: nn.Sequential(conv(3, 4), nn.GroupNorm(1, 4), conv(4, 2)), IMAGE),
    "instance norm": (
        lambda: nn.Sequential(conv(3, 4), nn.InstanceNorm2d(4, affine=True, track_running_stats=True), conv(4, 2)),
        IMAGE,
    ),
    "rms norm": (lambda: nn.Sequential(nn.Linear(8, 6), nn.RMSNorm(6), nn.ReLU(), nn.Linear(6, 2)), X),
    "glu": (lambda: nn.Sequential(nn.Linear(8, 12), nn.GLU(), nn.Linear(6, 2)), X),
    "packed gate": (lambda: Net(gated, both=nn.Linear(8, 12), out=nn.Linear(6, 2)), X),
    "pixels shuffled both ways": (
        lambda: nn.Sequential(conv(3, 16), nn.PixelShuffle(2), conv(4, 3), nn.PixelUnshuffle(2), conv(12, 2)),
        IMAGE,
    ),
    "scaled by parameters": (
        lambda: images(scaled, scale=nn.Parameter(torch.randn(4, 1, 1)), shift=nn.Parameter(torch.randn(1, 4))),
        IMAGE,
    ),
    "conditioned": (lambda: images(film, gain=nn.Linear(6, 4), bias=nn.Linear(6, 4)), IMAGE, (2, 6)),
    "snake": (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), Snake(4), nn.Conv1d(4, 2, 1)), (2, 3, 7)),
    "embedding": (lambda: nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), TOKENS),
    "bag": (lambda: nn.Sequential(nn.EmbeddingBag(11, 6), nn.Linear(6, 2)), TOKENS),
    "rectified with both signs": (
        lambda: images(lambda net, x: net.out(torch.cat([x := net.conv(x), -x], 1).relu()), read=8),
        IMAGE,
    ),
    "means and spreads": (
        lambda: images(spread, read=8),
        IMAGE,
    ),
    "lstm language model": (LanguageModel, TOKENS),
    "encoder and decoder": (lambda: nn.Transformer(8, 2, 1, 1, 6, batch_first=True), X, (2, 3, 8)),
}


def settle(model):
    """In eval mode, with norms that have seen something, and hardly a dead unit."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            nn.init.uniform_(module.bias, 0.5, 1.5)
        if "Norm" in type(module).__name__:
            for tensor in (getattr(module, name, None) for name in ("weight", "bias", "running_mean")):
                if tensor is not None:
                    nn.init.normal_(tensor)
            if getattr(module, "running_var", None) is not None:
                nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


def example(shape):
    return torch.randint(11, shape) if shape == TOKENS else torch.randn(shape)


def make(name):
    """(model, example)."""
    torch.manual_seed(0)
    if name in ZOO:
        model, given = ZOO[name]()
        return settle(model), given
    build, *shapes = ARCHITECTURES[name]
    given = tuple(map(example, shapes))
    return settle(build()), given if len(given) > 1 else given[0]


NAMES = [*ZOO, *ARCHITECTURES]
