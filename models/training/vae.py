"""Wan's VAE in one pass over a clip, under diffusers' parameter names.

diffusers encodes and decodes chunk by chunk with caches, which is launch-bound at this size. Its
chunks compute causal convolutions with zeros in front, so one pass over all frames gives the same
numbers, with two exceptions that Resample keeps: the first frame skips time_conv, going down and
going up. Layout: [B, C, F, H, W]."""

import torch
from torch import nn
from torch.nn import functional as F

CONFIG = {
    "base_dim": 24,
    "decoder_base_dim": 32,
    "z_dim": 16,
    "dim_mult": [1, 2, 3, 3],
    "num_res_blocks": 1,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
    "dropout": 0.0,
}


def norm_silu(x, gamma):
    """silu of x / |x| * sqrt(C) * gamma, |x| over the C channels of a point."""
    y = x.float()
    y = (
        y
        * torch.rsqrt(y.square().sum(1, keepdim=True).clamp(min=1e-24))
        * (x.shape[1] ** 0.5)
        * gamma
    )
    return F.silu(y).to(x.dtype)


class CausalConv(nn.Conv3d):
    """A convolution that sees only frames before: its kernel's last frame lies on the output's."""

    def __init__(self, cin, cout, kernel, stride=1):
        kernel = (kernel,) * 3 if isinstance(kernel, int) else kernel
        super().__init__(
            cin, cout, kernel, stride, padding=(kernel[0] - 1, kernel[1] // 2, kernel[2] // 2)
        )

    def forward(self, x):
        return super().forward(x)[:, :, : x.shape[2]]  # padding adds frames behind, too


class Norm(nn.Module):
    def __init__(self, channels, dims=3):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * dims))


class ResBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.norm1, self.conv1 = Norm(cin), CausalConv(cin, cout, 3)
        self.norm2, self.conv2 = Norm(cout), CausalConv(cout, cout, 3)
        self.conv_shortcut = CausalConv(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x):
        y = self.conv1(norm_silu(x, self.norm1.gamma))
        return self.conv2(norm_silu(y, self.norm2.gamma)) + self.conv_shortcut(x)


def by_frame(fn, x):
    """fn of pictures [B F, C, H, W], on clips."""
    b, c, f, h, w = x.shape
    y = fn(x.transpose(1, 2).reshape(b * f, c, h, w))
    return y.view(b, f, *y.shape[1:]).transpose(1, 2)


class Attention(nn.Module):
    """One head over the points of one frame."""

    def __init__(self, channels):
        super().__init__()
        self.norm = Norm(channels, 2)
        self.to_qkv, self.proj = (
            nn.Conv2d(channels, 3 * channels, 1),
            nn.Conv2d(channels, channels, 1),
        )

    def pictures(self, x):
        n, c, h, w = x.shape
        y = F.normalize(x.float(), dim=1).to(x.dtype) * c**0.5 * self.norm.gamma
        q, k, v = self.to_qkv(y).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
        y = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(n, c, h, w)
        return self.proj(y)

    def forward(self, x):
        return x + by_frame(self.pictures, x)


class Resample(nn.Module):
    def __init__(self, channels, up, time):
        super().__init__()
        self.up, self.time = up, time
        if up:
            double = nn.Upsample(scale_factor=2.0, mode="nearest-exact")
            self.resample = nn.Sequential(double, nn.Conv2d(channels, channels // 2, 3, padding=1))
            if time:
                self.time_conv = CausalConv(channels, 2 * channels, (3, 1, 1))
        else:
            self.resample = nn.Sequential(
                nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2)
            )
            if time:
                self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1))

    def forward(self, x):
        if self.up and self.time and x.shape[2] > 1:
            b, c, f, h, w = x.shape
            pair = self.time_conv(x[:, :, 1:]).reshape(b, 2, c, f - 1, h, w)
            x = torch.cat((x[:, :, :1], torch.stack(pair.unbind(1), 3).flatten(2, 3)), 2)
        x = by_frame(self.resample, x)
        if not self.up and self.time and x.shape[2] > 1:
            x = torch.cat((x[:, :, :1], self.time_conv(x)), 2)
        return x


class Mid(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(channels, channels) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels)])

    def forward(self, x):
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        widths = [c["base_dim"] * m for m in [1] + c["dim_mult"]]
        last = len(c["dim_mult"]) - 1
        self.conv_in = CausalConv(3, widths[0], 3)
        blocks = []
        for i, (cin, cout) in enumerate(zip(widths, widths[1:])):
            blocks += [ResBlock(cin if j == 0 else cout, cout) for j in range(c["num_res_blocks"])]
            if i < last:
                blocks.append(Resample(cout, up=False, time=c["temperal_downsample"][i]))
        self.down_blocks = nn.ModuleList(blocks)
        self.mid_block, self.norm_out = Mid(cout), Norm(cout)
        self.conv_out = CausalConv(cout, 2 * c["z_dim"], 3)

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(norm_silu(self.mid_block(x), self.norm_out.gamma))


class UpBlock(nn.Module):
    def __init__(self, cin, cout, count, resample):
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(cin if j == 0 else cout, cout) for j in range(count))
        self.upsamplers = nn.ModuleList([resample] if resample else [])

    def forward(self, x):
        for block in [*self.resnets, *self.upsamplers]:
            x = block(x)
        return x


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        base = c.get("decoder_base_dim") or c["base_dim"]
        widths = [base * m for m in [c["dim_mult"][-1]] + c["dim_mult"][::-1]]
        times = c["temperal_downsample"][::-1]
        self.conv_in, self.mid_block = CausalConv(c["z_dim"], widths[0], 3), Mid(widths[0])
        blocks = []
        for i, (cin, cout) in enumerate(zip(widths, widths[1:])):
            resample = Resample(cout, up=True, time=times[i]) if i < len(times) else None
            blocks.append(UpBlock(cin // 2 if i else cin, cout, c["num_res_blocks"] + 1, resample))
        self.up_blocks = nn.ModuleList(blocks)
        self.norm_out, self.conv_out = Norm(cout), CausalConv(cout, 3, 3)

    def forward(self, z):
        x = self.mid_block(self.conv_in(z))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(norm_silu(x, self.norm_out.gamma))


class VAE(nn.Module):
    """Video [B, 3, F, H, W] in -1..1 <-> latents [B, z_dim, T, H/8, W/8], F = 4T - 3."""

    def __init__(self, config=CONFIG):
        super().__init__()
        z = config["z_dim"]
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv, self.post_quant_conv = CausalConv(2 * z, 2 * z, 1), CausalConv(z, z, 1)

    def encode(self, video):
        """Mean and logarithm of the variance, both like the latents."""
        return self.quant_conv(self.encoder(video)).chunk(2, 1)

    def decode(self, z):
        """Not yet clamped."""
        return self.decoder(self.post_quant_conv(z))
