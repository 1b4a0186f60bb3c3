"""Trains the VAE on drawn clips: vae.safetensors (f32 average of the weights) and vae.json in
--out.

    python train_vae.py --out DIR --seconds 450
    python train_vae.py --out DIR --seconds 250 --go-on --psnr
    python train_vae.py --out DIR --seconds 300 --decoder-only --psnr

--go-on and --decoder-only go on from the files in DIR; the latter leaves the encoder as it is, so
that latents stay valid. --psnr measures in the end what the VAE has reached."""

import time

BEGIN = time.time()  # --seconds has the imports too, 20 s on a new machine

import argparse
import json
import math
import pathlib
import random

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import captions
import clips
import vae as wan_vae
from common import Average, channels_last, rate, rounded, save_sheet, step_if_finite

KL = 1e-4  # on the mean of the latents: weak, their deviation is measured and divided by
LEAST_LOGVAR = -6.0  # of the encoder's own noise
NOISE = 0.15  # added besides, of each channel's deviation: what the transformer may be off by
RATE = 8e-4
OBJECTS = 6


def schedule(fraction, step, first, small):
    """(clips a step, frames, edge of the crop) at a fraction of the training. The `first` call
    begins with short clips and leaves whole frames to the next, which costs a minute less: so long
    takes choosing the convolutions of another shape on a new machine. Every fourth step is for
    first frames, of which a long clip has but one."""
    if small:
        return 1, 9 if fraction < 0.7 else 5, 32
    if step % 4 == 3:
        return 24, 5, 64
    if first:
        return (8, 17, 96) if fraction < 0.15 else (4, 81, 64)
    return (4, 81, 64) if fraction < 0.6 else (1, 81, 128)


def draw(rng, count, frames, edge, device):
    """Crops [count, 3, F, edge, edge] of new clips, of many objects: there is most to learn at
    their edges."""
    scenes = [captions.draw_scene(rng, False) for _ in range(count)]
    for scene in scenes:
        while len(scene["objects"]) < OBJECTS:
            scene["objects"] += captions.draw_scene(rng, False)["objects"]
    video = clips.render(scenes, frames, device, rng.randrange(1 << 30), tries=1, objects=OBJECTS)
    y, x = (rng.randrange(0, clips.SIDE - edge + 1) for _ in range(2))
    return video[..., y : y + edge, x : x + edge].contiguous()


def loss_of(video, out, mean, logvar):
    """Absolute and squared error, heavier near edges and in the first frame, which is alone in its
    latent frame; the error of neighbours' differences, for crisp edges; and KL."""
    dx, dy = ((video - video.roll(1, axis)).abs().amax(1, keepdim=True) for axis in (-1, -2))
    edges = F.max_pool3d((dx + dy).clamp(max=1), (1, 5, 5), 1, (0, 2, 2))
    weight = 1 + 5 * edges
    first = torch.ones(video.shape[2], device=video.device)
    first[0] = 4 if video.shape[2] > 5 else 1
    weight = weight * first[:, None, None]
    error = out - video
    slope = sum((error - error.roll(1, axis)).abs().mean() for axis in (-1, -2))
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return (weight * (error.abs() + 2 * error.square())).mean() + 0.5 * slope + KL * kl, kl


def share_of(args, mean):
    """Of a channel's deviation, the noise that latents get. The encoder learns latents for one size
    of it; a decoder alone learns to forgive any up to twice that, [B, 1, 1, 1, 1]."""
    if not args.decoder_only:
        return NOISE
    return 2 * NOISE * torch.rand(len(mean), 1, 1, 1, 1, device=mean.device)


def mixed(device):
    """Products and convolutions in bf16, on a GPU."""
    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")


def psnr(error):
    """dB of errors of values in -1..1."""
    return -10 * math.log10(error.square().mean().item() / 4)


@torch.no_grad()
def psnrs(model, device, small):
    """{frames: {what of them: PSNR}} of clips of combinations never trained, and pictures of the
    first ones, drawn and decoded in turn."""
    rng, report, pictures = random.Random(1234), {}, []
    for frames, count in ((9, 2),) if small else ((81, 24), (321, 4)):
        errors = []
        for i in range(count):
            video = clips.render(
                [captions.draw_scene(rng, True)], frames, device, rng.randrange(1 << 30)
            )
            with mixed(device):
                out = model.decode(model.encode(video)[0]).float().clamp(-1, 1)
            errors.append((out - video)[0])
            pictures += [video[0], out[0]] if i < 4 and frames <= 81 else []
        error = torch.stack(errors)
        report[str(frames)] = {
            "psnr": psnr(error),
            "first_frame": psnr(error[:, :, :1]),
            "last_quarter": psnr(error[:, :, -(frames // 4) :]),
            "worst": min(map(psnr, errors)),
        }
    return report, pictures


@torch.no_grad()
def latent_statistics(model, device, small):
    """{"latents_mean": .., "latents_std": ..}, of each channel."""
    rng, latents = random.Random(4321), []
    for _ in range(2 if small else 24):
        scenes = [captions.draw_scene(rng, False) for _ in range(1 if small else 8)]
        video = clips.render(scenes, 9 if small else 81, device, rng.randrange(1 << 30))
        with mixed(device):
            latents.append(model.encode(video)[0].float())
    z = torch.cat(latents).transpose(0, 1).flatten(1)
    deviation = z.std(1)
    return {
        "latents_mean": z.mean(1).tolist(),
        "latents_std": deviation.clamp(min=0.25 * deviation.median().item()).tolist(),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=450)
    parser.add_argument("--go-on", action="store_true")
    parser.add_argument("--decoder-only", action="store_true")
    parser.add_argument("--psnr", action="store_true", help="of held-out clips, in the end")
    parser.add_argument("--small", action="store_true", help="a few tiny steps, to try the program")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)  # sooner than after 450 s
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 5
    torch._dynamo.config.suppress_errors, torch._dynamo.config.recompile_limit = True, 64
    torch.set_float32_matmul_precision("high")
    old = args.go_on or args.decoder_only
    rng = random.Random(time.time_ns() if old else 0)  # other clips than the calls before
    model = wan_vae.VAE().to(device)
    if device == "cuda":
        channels_last(model)
        wan_vae.norm_silu = torch.compile(wan_vae.norm_silu, dynamic=True)
    if old:
        model.load_state_dict(load_file(args.out / "vae.safetensors", device))
    if args.decoder_only:
        model.encoder.requires_grad_(False), model.quant_conv.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    average = Average(model, 0.998)
    optimizer = torch.optim.AdamW(
        trained, lr=RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=device == "cuda"
    )

    step, fraction, start = 0, 0.0, BEGIN
    while fraction < 1:
        if step == 8:
            start = time.time()  # compiling isn't training
        fraction = min(1.0, (time.time() - start) / (args.seconds - (start - BEGIN)))
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate(fraction if not old else 0.2 + 0.8 * fraction, step, 200)
        shape = schedule(fraction if step > 8 else 0.0, step, not old, args.small)
        video = draw(rng, *shape, device)
        if device == "cuda":
            video = video.contiguous(memory_format=torch.channels_last_3d)
        with mixed(device):
            mean, logvar = model.encode(video)
            logvar = logvar.float().clamp(LEAST_LOGVAR, 4)
            spread = mean.detach().float().std((0, 2, 3, 4), keepdim=True)
            off = share_of(args, mean) * spread
            noise = ((0.5 * logvar).exp().square() + off.square()).sqrt()
            out = model.decode(mean.float() + noise * torch.randn_like(mean, dtype=torch.float32))
        loss, kl = loss_of(video, out.float(), mean.float(), logvar)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, 0.5)
        step_if_finite(optimizer, norm)
        average.update(step)
        if step in (1, 10, 50) or step % 250 == 0:
            print(
                f"{step} {time.time() - BEGIN:.0f}s {shape} loss {loss.item():.4f} "
                f"kl {kl.item():.2f} "
                f"psnr {psnr((out - video).float()):.1f} norm {norm.item():.2f}",
                flush=True,
            )
        step += 1

    torch.backends.cudnn.benchmark = False
    average.store(model)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, args.out / "vae.safetensors"
    )
    rounded(model)
    report = {"steps": step}
    if args.psnr:
        measured, pictures = psnrs(model, device, args.small)
        report.update(measured)
        save_sheet(args.out / "vae.png", pictures)
    if args.decoder_only:
        before = json.loads((args.out / "vae.json").read_text())
        report.update({k: before[k] for k in ("latents_mean", "latents_std")})
    else:
        report.update(latent_statistics(model, device, args.small))
    (args.out / "vae.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report), f"{time.time() - BEGIN:.0f}s", flush=True)


if __name__ == "__main__":
    main()
