"""Trains the transformer on latents of drawn clips.

    python train_dit.py --work DIR --seconds 520 --planned 775
    torchrun --nproc-per-node 2 train_dit.py --work DIR --seconds 390 --last

Takes vae.safetensors, vae.json, text.safetensors and spiece.model from DIR, leaves dit.safetensors
there (f32 averages of the weights) and state.pt, from which the next call goes on.
The learning rate falls to nothing over --planned seconds of training, of all calls together, or by
the end of the --last one. Under torchrun each process draws --batch clips a step of its own.
Without state.pt a call goes on from the averages, without either it begins. Prints the loss on
clips of combinations never trained, for one and two objects: compare ways of training by that."""

import time

BEGIN = time.time()  # --seconds has the imports too, 20 s on a new machine

import argparse
import collections
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

import bank as clip_bank
import dit as wan_dit
import text
import vae as wan_vae
from common import Average, rate
from muon import Muon
from step import Step, profile
from together import Processes

BATCH = 64
RATE = 1e-3
KEEP = 120  # seconds between two savings
AGREE = 20  # steps between two looks at the clock, which is the first process's
AHEAD = 4  # steps that the host may be ahead of the device: its clock ends the training


def optimizers_for(kind, model, fused):
    """[AdamW], or for kind "muon" Muon for the matrices of the transformer's blocks and AdamW for
    the rest."""
    matrices = [p for p in model.blocks.parameters() if p.dim() == 2] if kind == "muon" else []
    taken = set(map(id, matrices))
    rest = [p for p in model.parameters() if id(p) not in taken]
    adam = torch.optim.AdamW(
        rest, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=fused, capturable=fused
    )
    return [adam, Muon(matrices, RATE)] if matrices else [adam]


def clips_of(args, tokenizer, frames, device, seed):
    """(bank, latents and ids of held-out clips), from --bank where it has them."""
    bank = clip_bank.Bank(args.bank, 8 if args.small else clip_bank.CAPACITY, frames, device)
    bank.look()
    held = args.bank / "held.safetensors" if args.bank else None
    if bank.put and held.exists():
        kept = load_file(held, device)
        return bank, (kept["latents"], kept["ids"])
    vae = clip_bank.load_vae(args.work, device)
    if not bank.put:
        bank.fill(vae, tokenizer, args.clips, args.clip_seconds, frames, seed)
    count = 4 if args.small else clip_bank.HELD
    return bank, clip_bank.held_clips(vae, tokenizer, count, frames, device)


def arguments():
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
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="muon")
    parser.add_argument("--rate", type=float, default=RATE, help="highest learning rate")
    parser.add_argument("--batch", type=int, default=BATCH, help="clips a step, of each process")
    parser.add_argument("--measure", type=float, default=30, help="seconds between held-out losses")
    parser.add_argument("--profile", type=int, default=0, help="times as many steps, and no more")
    parser.add_argument("--eager", action="store_true", help="no CUDA graph")
    parser.add_argument("--small", action="store_true", help="a few tiny steps, to try the program")
    return parser.parse_args()


def restore(work, kind, model, optimizers, average):
    """(step, seconds trained, step at which the optimizers began) of what `work` has."""
    device = str(next(model.parameters()).device)
    if (work / "state.pt").exists():
        state = torch.load(work / "state.pt", map_location=device)
        if state["kind"] != kind:
            raise SystemExit(
                f"{work / 'state.pt'}: made with --optimizer {state['kind']}, not {kind}: name "
                "that one, or remove the file to go on from the averaged weights"
            )
        model.load_state_dict(state["weights"])
        for optimizer, kept in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(kept)
        average.mean = state["average"]
        return state["step"], state["elapsed"], state["fresh"]
    step, elapsed = 0, 0.0
    if (work / "dit.safetensors").exists():
        model.load_state_dict(load_file(work / "dit.safetensors", device))
        meta = json.loads((work / "dit.json").read_text())
        step, elapsed = meta["step"], meta["elapsed"]
    else:
        wan_dit.quiet_padding(model)
    average.restart()
    return step, elapsed, step


def save(work, kind, model, optimizers, average, step, elapsed, fresh):
    torch.save(
        {
            "kind": kind,
            "weights": model.state_dict(),
            "optimizers": [o.state_dict() for o in optimizers],
            "average": average.mean,
            "step": step,
            "elapsed": elapsed,
            "fresh": fresh,
        },
        work / "state.pt",
    )
    average.swap()
    save_file(model.state_dict(), work / "dit.safetensors")
    (work / "dit.json").write_text(json.dumps({"step": step, "elapsed": elapsed}))
    average.swap()


def make_step(args, device, processes):
    """(Step, held-out clips, what restore() gives), compiled and recorded."""
    cuda = device == "cuda"
    tokenizer = text.Tokenizer((args.work / "spiece.model").read_bytes())
    torch.manual_seed(0)
    model = wan_dit.DiT().to(device)
    encoder = text.load(args.work / "text.safetensors", tokenizer.size()).to(device)
    optimizers = optimizers_for(args.optimizer, model, cuda)
    average = Average(model, 0.9995)
    restored = restore(args.work, args.optimizer, model, optimizers, average)
    torch.manual_seed(restored[0] + 1000003 * processes.rank)  # other clips and noise in each
    if cuda:
        wan_vae.norm_silu = torch.compile(wan_vae.norm_silu, dynamic=True)
        for block in model.blocks:
            block.compile(dynamic=False)
    bank, held = clips_of(
        args, tokenizer, 9 if args.small else 81, device, 1000 + restored[0] + processes.rank
    )
    print(f"{bank.put} clips after {time.time() - BEGIN:.0f} s", flush=True)
    report = json.loads((args.work / "vae.json").read_text())
    scale = [
        torch.tensor(report[k], device=device).view(1, -1, 1, 1, 1)
        for k in ("latents_mean", "latents_std")
    ]
    nothing = tokenizer([""]).to(device)
    batch = 2 if args.small else args.batch
    train = Step(model, encoder, bank, optimizers, average, batch, scale, nothing, processes)
    if cuda and not args.eager:
        train.capture()
    processes.join()
    print(f"ready after {time.time() - BEGIN:.0f} s", flush=True)
    return train, held, restored


def main():
    args, processes = arguments(), Processes()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 5
    torch._dynamo.config.suppress_errors, torch._dynamo.config.recompile_limit = True, 64
    train, held, (step, elapsed, fresh) = make_step(args, device, processes)
    if args.profile:
        return profile(train, args.profile)
    first = processes.rank == 0

    def keep():
        parts = train.model, train.optimizers, train.average
        save(args.work, args.optimizer, *parts, step, elapsed + time.time() - start, fresh)

    def measure():
        one, two = train.measure(*held)
        print(
            f"{step} {time.time() - BEGIN:.0f}s held out: one {one:.4f} two {two:.4f}", flush=True
        )

    start = measured = kept = time.time()
    since, began, ahead = step, step, collections.deque()
    planned = elapsed + args.seconds - (start - BEGIN) if args.last else args.planned
    while True:
        if (step - began) % AGREE == 0:  # one clock says how far the training is
            used, left = time.time() - start, args.seconds - (time.time() - BEGIN)
            fraction, left = processes.agree((elapsed + used) / planned), processes.agree(left)
            if left <= 0:
                break
        if (step - began) % 500 == 0:  # rounding mustn't part them
            train.follow()
        now = args.rate * rate(fraction, step - fresh, 300)
        if step % 100 == 0:
            train.bank.look()
        train(now, train.average.weight(step))
        step += 1
        if device == "cuda":
            ahead.append(torch.cuda.Event())
            ahead[-1].record()
            if len(ahead) > AHEAD:
                ahead.popleft().synchronize()
        if first and (step - began in (1, 10, 100) or step - since == 500):
            print(
                f"{step} {time.time() - BEGIN:.0f}s {train.bank.put} clips "
                f"mean {train.sum.item() / (step - since):.4f} "
                f"norm {train.norm.item():.2f} rate {now:.1e}",
                flush=True,
            )
        if step - since == 500:
            since = step
            train.sum.zero_()
        if first and time.time() - measured > args.measure:
            measure()
            measured = time.time()
        if first and time.time() - kept > KEEP:
            keep()
            kept = time.time()

    processes.leave()
    if first:
        keep()
        measure()
        print(f"{step} steps, {elapsed + time.time() - start:.0f} s of {planned:.0f}", flush=True)


if __name__ == "__main__":
    main()
