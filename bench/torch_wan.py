"""Outside yardsticks for `lvsa bench dit` and `lvsa bench vae` on a GPU: diffusers' Wan 2.1 in bf16, and the
reference implementation of LVSA by its SDPA path, over the weights of `lvsa synth`.

usage: python bench/torch_wan.py MODEL [--lvsa DIR] [--frames N ...] [--decode N ...]
Every length: its kernels are chosen in a pass of one block, then up to three passes are timed, or as many
as 3 s allow, and the best is told. DIR holds the Python package `lvsa` of the reference; without it only
dense passes are run. Started by torchrun, its ranks share the reference's passes in its own way, and nothing
else is run. Needs torch and diffusers.
"""
import argparse
import contextlib
import io
import os
import sys
import time
from types import SimpleNamespace

import torch
import torch.distributed as dist
from diffusers import AutoencoderKLWan, WanTransformer3DModel

HEIGHT, WIDTH, TEXT = 480, 832, 512
RANKS, RANK = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
device = "cuda" if torch.cuda.is_available() else "cpu"


def seconds(call):
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    taken = torch.tensor(time.perf_counter() - start, device=device)
    if RANKS > 1:
        dist.all_reduce(taken, op=dist.ReduceOp.MAX)
    return taken.item()


def measure(label, call, prepare):
    """`prepare` is not timed."""
    try:
        prepare()
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = []
        while len(times) < 3 and sum(times) < 3:
            times.append(seconds(call))
    except torch.OutOfMemoryError:
        print(f"{label:<28} out of memory", flush=True)
        return
    if RANK != 0:
        return
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    print(f"{label:<28} {min(times):8.3f} s   {len(times)} runs   {peak:5.1f} GiB", flush=True)


def share(model):
    """Each rank has its part of the tokens, as the reference's own scripts have it."""
    from lvsa.adapters.wan import WanAdapter
    WanAdapter().setup_context_parallel(model, RANKS)


def make_sparse(model, frames):
    """The reference's processor, at its second step's keyframes, on every block."""
    from lvsa.adapters.wan import WanAdapter
    from lvsa.parallel import install_lvsa_processors
    pipe = SimpleNamespace(transformer=model, vae_scale_factor_temporal=4, vae_scale_factor_spatial=8)
    args = SimpleNamespace(num_frames=frames, height=HEIGHT, width=WIDTH, window_size=12, n_first_frames=4,
                           key_frame_interval=16, auto_keyframes=True, rotate_keyframes=True, flashinfer=False)
    with contextlib.redirect_stdout(io.StringIO()):
        processor = install_lvsa_processors(pipe, args, RANK, RANKS, WanAdapter())
    processor.set_step(1)


def transformer(model_path, lengths, lvsa):
    model = WanTransformer3DModel.from_pretrained(model_path, subfolder="transformer",
                                                  torch_dtype=torch.bfloat16).to(device)
    text = torch.randn(1, TEXT, model.config.text_dim, device=device, dtype=torch.bfloat16)
    step = torch.tensor([500], device=device)
    if RANKS > 1:
        share(model)
    blocks, dense = model.blocks, [b.attn1.processor for b in model.blocks]

    def one_block(call):
        model.blocks = blocks[:1]
        call()
        model.blocks = blocks

    for frames in lengths:
        z = torch.randn(1, model.config.in_channels, (frames - 1) // 4 + 1, HEIGHT // 8, WIDTH // 8,
                        device=device, dtype=torch.bfloat16)
        call = lambda: model(z, step, text, return_dict=False)
        for block, processor in zip(blocks, dense):
            block.attn1.processor = processor
        if RANKS == 1:
            measure(f"{frames} frames, dense", call, lambda: one_block(call))
        if lvsa and frames > 81:
            make_sparse(model, frames)
            measure(f"{frames} frames, reference LVSA", call, lambda: one_block(call))


def decoder(model_path, lengths):
    vae = AutoencoderKLWan.from_pretrained(model_path, subfolder="vae", torch_dtype=torch.bfloat16).to(device)
    for frames in lengths:
        z = torch.randn(1, vae.config.z_dim, (frames - 1) // 4 + 1, HEIGHT // 8, WIDTH // 8, device=device,
                        dtype=torch.bfloat16)
        measure(f"decode {frames} frames", lambda: vae.decode(z, return_dict=False),
                lambda: vae.decode(z[:, :, :3], return_dict=False))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model")
parser.add_argument("--lvsa", metavar="DIR")
parser.add_argument("--frames", type=int, nargs="*", default=[81, 321, 481])
parser.add_argument("--decode", type=int, nargs="*", default=[81, 321])
options = parser.parse_args()
if options.lvsa:
    sys.path.insert(0, options.lvsa)
if RANKS > 1:
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group()
if RANK == 0:
    print(torch.cuda.get_device_name() if device == "cuda" else "cpu", "torch", torch.__version__, RANKS, "ranks")
with torch.inference_mode():
    transformer(options.model, options.frames, options.lvsa)
    if RANKS == 1 and options.decode:
        decoder(options.model, options.decode)
if RANKS > 1:
    dist.destroy_process_group()
