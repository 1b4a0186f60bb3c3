"""Trains the transformer and the text encoder on latents of drawn clips.

    python train_dit.py --work DIR --seconds 520 --planned 775
    python train_dit.py --work DIR --seconds 390 --last

Takes vae.safetensors, vae.json and spiece.model from DIR, leaves dit.safetensors and
text.safetensors there (f32 averages of the weights) and state.pt, from which the next call goes on.
The learning rate falls to nothing over --planned seconds of training, of all calls together, or by
the end of the --last one. Without state.pt a call goes on from the averages, without either it
begins."""

import argparse
import json
import pathlib
import time

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import clips
import dit as wan_dit
import text
import vae as wan_vae
from bank import Bank
from common import Average, rate, step_if_finite

BATCH = 64
RATE = 1e-3
WITHOUT_TEXT = 0.1  # share of clips whose text is empty, for guidance
SHIFT = 3.0  # noise levels: s = SHIFT u / (1 + (SHIFT - 1) u), u logit-normal


def noise_levels(count, device):
    """Nine of ten from a shifted logit-normal distribution, one of ten uniform."""
    u = torch.sigmoid(1.2 * torch.randn(count, device=device))
    s = SHIFT * u / (1 + (SHIFT - 1) * u)
    return torch.where(torch.rand(count, device=device) < 0.1, torch.rand(count, device=device), s)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=520)
    parser.add_argument("--planned", type=float, default=775)
    parser.add_argument("--last", action="store_true", help="the learning rate ends with this call")
    parser.add_argument("--bank", type=pathlib.Path, help="folder that bank.py fills meanwhile")
    parser.add_argument(
        "--clips",
        type=int,
        default=32768,
        help="clips to encode first where --bank has none, as far as time allows",
    )
    parser.add_argument(
        "--clip-seconds", type=float, default=60, help="time to draw and encode them"
    )
    parser.add_argument("--small", action="store_true", help="a few tiny steps, to try the program")
    args = parser.parse_args()
    begin = time.time()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 5
    torch._dynamo.config.suppress_errors, torch._dynamo.config.recompile_limit = True, 64
    tokenizer = text.Tokenizer((args.work / "spiece.model").read_bytes())

    model, encoder = wan_dit.DiT().to(device), text.make_encoder(tokenizer.size()).to(device)
    both = torch.nn.ModuleList([model, encoder])
    optimizer = torch.optim.AdamW(
        both.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=device == "cuda"
    )
    step, elapsed, fresh = 0, 0.0, 0  # fresh: the step at which the optimizer began
    average = Average(both, 0.9995)
    if (args.work / "state.pt").exists():
        state = torch.load(args.work / "state.pt", map_location=device)
        both.load_state_dict(state["weights"]), optimizer.load_state_dict(state["optimizer"])
        average.mean, step, elapsed = state["average"], state["step"], state["elapsed"]
        fresh = state["fresh"]
    elif (args.work / "dit.safetensors").exists():
        model.load_state_dict(load_file(args.work / "dit.safetensors", device))
        encoder.load_state_dict(load_file(args.work / "text.safetensors", device), strict=False)
        meta = json.loads((args.work / "dit.json").read_text())
        step, elapsed, fresh = meta["step"], meta["elapsed"], meta["step"]
        average = Average(both, 0.9995)
    torch.manual_seed(step)
    if device == "cuda":
        wan_vae.norm_silu = torch.compile(wan_vae.norm_silu, dynamic=True)
        for block in model.blocks:
            block.compile()
    frames = 9 if args.small else 81
    bank = Bank(args.bank, device)
    bank.look()
    if bank.size() == 0:
        bank.fill(args.work, tokenizer, args.clips, args.clip_seconds, frames, 1000 + step)
    print(f"{bank.size()} clips after {time.time() - begin:.0f} s", flush=True)
    report = json.loads((args.work / "vae.json").read_text())
    mean, std = (
        torch.tensor(report[k], device=device).view(1, -1, 1, 1, 1)
        for k in ("latents_mean", "latents_std")
    )
    nothing = tokenizer([""]).to(device)
    half = clips.SIDE // 16
    table = wan_dit.rotary_table((frames + 3) // 4, half, half, model.head_dim, device)
    batch = 2 if args.small else BATCH

    start, first, since = time.time(), step, step
    planned = elapsed + args.seconds - (start - begin) if args.last else args.planned
    losses = torch.zeros((), device=device)
    while time.time() - begin < args.seconds:
        done = (elapsed + time.time() - start) / planned
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate(done, step - fresh, 300)
        if step % 100 == 0:
            bank.look()
        z, ids = bank.draw(batch)
        z = (z - mean) / std
        ids = torch.where(torch.rand(batch, 1, device=device) < WITHOUT_TEXT, nothing, ids)
        s = noise_levels(batch, device)
        at = s.view(-1, 1, 1, 1, 1)
        noise = torch.randn_like(z)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            rows, bias = wan_dit.pad_text(*text.encode(encoder, ids))
            velocity = model(torch.lerp(z, noise, at), 1000 * s, rows, bias, table)
        loss = F.mse_loss(velocity, noise - z)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        step_if_finite(optimizer, norm)
        average.update(step)
        step += 1
        losses += loss.detach()
        count = step - since
        if step - first in (1, 10, 100) or count == 500:
            print(
                f"{step} {time.time() - begin:.0f}s {bank.size()} clips loss {loss.item():.4f} "
                f"mean {losses.item() / count:.4f} "
                f"norm {norm.item():.2f} rate {group['lr']:.1e}",
                flush=True,
            )
            if count == 500:
                since, losses = step, torch.zeros((), device=device)

    elapsed += time.time() - start
    print(f"{step} steps, {elapsed:.0f} s of {planned:.0f}", flush=True)
    torch.save(
        {
            "weights": both.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.mean,
            "step": step,
            "elapsed": elapsed,
            "fresh": fresh,
        },
        args.work / "state.pt",
    )
    average.store(both)
    save_file(model.state_dict(), args.work / "dit.safetensors")
    save_file(
        {k: v for k, v in encoder.state_dict().items() if k != "encoder.embed_tokens.weight"},
        args.work / "text.safetensors",
    )
    (args.work / "dit.json").write_text(json.dumps({"step": step, "elapsed": elapsed}))


if __name__ == "__main__":
    main()
