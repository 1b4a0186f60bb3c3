"""Wan's transformer under diffusers' parameter names, with the text's padding counted instead of
computed.

WanPipeline gives the transformer 512 text rows, all zeros past the text's end, and no mask. Those
rows are alike after the text embedder too, so attention over them is attention over one of them
with log(count) added to its score. Letters: B batch, T latent frames, S = T * P tokens, P patches a
frame, E width, L text rows."""

import math

import torch
from torch import nn
from torch.nn import functional as F

CONFIG = {
    "patch_size": [1, 2, 2],
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 128,
    "freq_dim": 256,
    "ffn_dim": 1024,
    "num_layers": 8,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 1024,
}
TEXT_ROWS = 512


def pad_text(rows, lengths):
    """(rows [B, L + 1, W], bias [B, 1, 1, L + 1]) of text rows [B, L, W], of which `lengths` [B]
    count: the last row stands for all the padding."""
    n = rows.shape[1]
    rows = F.pad(rows, (0, 0, 0, 1))
    bias = torch.zeros(len(rows), n + 1, device=rows.device)
    bias[:, :n].masked_fill_(torch.arange(n, device=rows.device) >= lengths[:, None], -math.inf)
    bias[:, n] = (TEXT_ROWS - lengths).log()
    return rows, bias[:, None, None]


def rotary_table(frames, height, width, head_dim, device, riflex=None):
    """cos and sin [S, 1, D/2] of every token; riflex is (pair, frequency) for one pair of the time
    axis."""
    pairs = head_dim // 6
    tables = []
    for axis, (count, n) in enumerate(
        [(frames, head_dim // 2 - 2 * pairs), (height, pairs), (width, pairs)]
    ):
        frequency = 10000.0 ** (-torch.arange(n, dtype=torch.float64) / n)
        if axis == 0 and riflex:
            frequency[riflex[0]] = riflex[1]
        angle = torch.outer(torch.arange(count, dtype=torch.float64), frequency)
        shape = [1, 1, 1, n]
        shape[axis] = count
        tables.append(angle.view(shape).expand(frames, height, width, n))
    angle = torch.cat(tables, -1).reshape(frames * height * width, 1, -1)
    return angle.cos().float().to(device), angle.sin().float().to(device)


def rotate(x, table):
    """x [B, S, H, D] turned pair by pair."""
    cos, sin = table
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).type_as(x)


def attend_frames(q, k, v, frames, counts, patches):
    """Sparse attention: the tokens of frame t attend to the frames[t, : counts[t]]. q, k, v [B, H,
    S, D]; frames [T, most] int64, counts [T]. Keys are gathered for all frames of one count at a
    time."""
    b, h, _, d = q.shape
    q, k, v = (x.reshape(b, h, -1, patches, d) for x in (q, k, v))
    out = torch.empty_like(q)
    for count in counts.unique().tolist():
        at = (counts == count).nonzero()[:, 0]
        keys, values = (x[:, :, frames[at, :count]].flatten(3, 4).flatten(1, 2) for x in (k, v))
        part = F.scaled_dot_product_attention(q[:, :, at].flatten(1, 2), keys, values)
        out[:, :, at] = part.view(b, h, len(at), patches, d)
    return out.flatten(2, 3)


class Attention(nn.Module):
    def __init__(self, width, heads, eps):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.norm_q, self.norm_k = nn.RMSNorm(width, eps), nn.RMSNorm(width, eps)

    def project(self, x, context):
        """Query, key and value; one matrix product where there is no context, of x with itself."""
        if context is not None:
            return self.to_q(x), self.to_k(context), self.to_v(context)
        layers = self.to_q, self.to_k, self.to_v
        weight, bias = (torch.cat([getattr(w, k) for w in layers]) for k in ("weight", "bias"))
        return F.linear(x, weight, bias).chunk(3, -1)

    def forward(self, x, context=None, bias=None, table=None, pattern=None):
        q, k, v = self.project(x, context)
        q = self.norm_q(q.float()).unflatten(-1, (self.heads, -1))
        k = self.norm_k(k.float()).unflatten(-1, (self.heads, -1))
        v = v.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if table is not None:
            q, k = rotate(q, table), rotate(k, table)
        q, k = q.transpose(1, 2).to(v.dtype), k.transpose(1, 2).to(v.dtype)
        if pattern is not None:
            y = attend_frames(q, k, v, *pattern)
        elif bias is None:
            y = F.scaled_dot_product_attention(q, k, v)
        else:  # few keys: the scores are smaller than q
            scores = (q @ k.mT).float() * q.shape[-1] ** -0.5 + bias
            y = scores.softmax(-1).to(v.dtype) @ v
        return self.to_out[0](y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        gelu = nn.Module()
        gelu.proj = nn.Linear(width, inner)
        self.net = nn.ModuleList([gelu, nn.Identity(), nn.Linear(inner, width)])

    def forward(self, x):
        return self.net[2](F.gelu(self.net[0].proj(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads, inner, eps):
        super().__init__()
        self.eps = eps
        self.attn1, self.attn2 = Attention(width, heads, eps), Attention(width, heads, eps)
        self.norm2 = nn.LayerNorm(width, eps)
        self.ffn = FeedForward(width, inner)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, width) / width**0.5)

    def forward(self, x, text, bias, modulation, table, pattern=None):
        """x [B, S, E] f32; text [B, L + 1, E]; modulation [B, 6, E]."""
        e = (self.scale_shift_table + modulation.float()).unsqueeze(2).unbind(1)  # six of [B, 1, E]
        norm = lambda y: F.layer_norm(y, y.shape[-1:], eps=self.eps)
        n = norm(x) * (1 + e[1]) + e[0]
        x = x + self.attn1(n, table=table, pattern=pattern) * e[2]
        x = x + self.attn2(self.norm2(x), text, bias=bias)
        return x + self.ffn(norm(x) * (1 + e[4]) + e[3]) * e[5]


@torch.no_grad()
def quiet_padding(model):
    """Begins a DiT so that the padding's score lies about log(490) below those of a text's rows:
    490 equal rows would otherwise hold nearly all the weight. Its embedding is zero, so its key is
    the bias of to_k, which lies against the bias of to_q along one direction of each head. A row's
    own part of its key is larger than that bias."""
    embedder = model.condition_embedder.text_embedder
    for layer in (embedder.linear_1, embedder.linear_2):
        layer.bias.zero_()
        nn.init.normal_(layer.weight, std=(2.5 / layer.in_features) ** 0.5)  # gelu halves; rms 1
    for block in model.blocks:
        a = block.attn2
        width = a.to_q.in_features
        own = 3**-0.5  # rms of what to_q makes of unit rows, as nn.Linear begins
        score = math.log(490) / (width // a.heads) ** 0.5  # cosine of query and bias
        sign = torch.randint(2, (width,), device=a.to_q.bias.device) * 2.0 - 1
        a.to_q.bias.copy_(sign * own * score / (1 - score**2) ** 0.5)
        a.to_k.bias.copy_(sign * -0.1 * own)
        a.to_v.bias.zero_()


class TwoLayers(nn.Module):
    def __init__(self, cin, width):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(cin, width), nn.Linear(width, width)

    def forward(self, x, activation):
        return self.linear_2(activation(self.linear_1(x)))


class Conditions(nn.Module):
    """Time and text, embedded."""

    def __init__(self, c, width):
        super().__init__()
        self.waves = c["freq_dim"]
        self.time_embedder = TwoLayers(c["freq_dim"], width)
        self.time_proj = nn.Linear(width, 6 * width)
        self.text_embedder = TwoLayers(c["text_dim"], width)

    def time(self, timestep):
        """(embedding [B, E], modulation [B, 6, E]) of timesteps [B] in 0..1000, in f32."""
        half = self.waves // 2
        frequency = torch.exp(
            -math.log(10000)
            * torch.arange(half, device=timestep.device, dtype=torch.float32)
            / half
        )
        angle = timestep.float()[:, None] * frequency
        embedding = self.time_embedder(torch.cat((angle.cos(), angle.sin()), -1), F.silu)
        return embedding, self.time_proj(F.silu(embedding)).unflatten(-1, (6, -1))

    def text(self, rows):
        return self.text_embedder(rows, lambda x: F.gelu(x, approximate="tanh"))


class DiT(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.head_dim, heads = c["attention_head_dim"], c["num_attention_heads"]
        width = self.head_dim * heads
        self.patch_embedding = nn.Conv3d(c["in_channels"], width, (1, 2, 2), (1, 2, 2))
        self.condition_embedder = Conditions(c, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, c["ffn_dim"], c["eps"]) for _ in range(c["num_layers"])
        )
        self.proj_out = nn.Linear(width, 4 * c["out_channels"])
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, width) / width**0.5)

    def forward(self, z, timestep, rows, bias, table, pattern=None):
        """Velocity [B, C, T, Y, X] of latents z, timesteps [B] in 0..1000, and rows and bias of
        pad_text(). table: rotary_table(T, Y/2, X/2); pattern: (frames, counts, P) of
        attend_frames(), or None for dense."""
        b, c, t, h, w = z.shape
        patches = (
            z.view(b, c, t, h // 2, 2, w // 2, 2).permute(0, 2, 3, 5, 1, 4, 6).reshape(b, -1, 4 * c)
        )
        x = F.linear(
            patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias
        ).float()
        with torch.autocast(z.device.type, enabled=False):
            temb, modulation = self.condition_embedder.time(timestep)
        text = self.condition_embedder.text(rows)
        for block in self.blocks:
            x = block(x, text, bias, modulation, table, pattern)
        shift, scale = (self.scale_shift_table + temb[:, None]).chunk(2, 1)
        x = self.proj_out(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        x = x.view(b, t, h // 2, w // 2, 2, 2, c).permute(0, 6, 1, 2, 4, 3, 5)
        return x.reshape(b, c, t, h, w).float()
