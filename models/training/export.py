"""Writes the trained parts as a checkpoint in diffusers' layout, in bf16, and lvsa.json beside it.

    python export.py --work DIR --out models/tiny-wan

needs vae.safetensors, vae.json, dit.safetensors, text.safetensors and spiece.model in DIR.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

import dit as wan_dit
import text
import vae as wan_vae

VERSION = "0.42.1"  # of diffusers
SHARDS = 2  # of the transformer: large checkpoints come in several, so this one does

LVSA = {
    "frames": 81,
    "height": 128,
    "width": 128,
    "fps": 16,
    "steps": 30,
    "guidance": 3.0,
    "flow_shift": 8.0,
    "negative_prompt": "",
    "reference_latent_frames": 21,
    "pattern": {
        "window_size": 12,
        "n_first_frames": 4,
        "key_frame_interval": "auto",
        "sparsity_scale": 1.5,
        "expand_window": True,
        "rotate_keyframes": True,
    },
}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def halved(path):
    return {k: v.to(torch.bfloat16).contiguous() for k, v in load_file(path).items()}


def save_shards(directory, name, tensors):
    """`name`-0000i-of-0000n.safetensors of about equal size, and their index."""
    total = sum(t.nbytes for t in tensors.values())
    shards, used = [{} for _ in range(SHARDS)], 0
    for key in sorted(tensors):
        shards[min(SHARDS - 1, used * SHARDS // total)][key] = tensors[key]
        used += tensors[key].nbytes
    where = {}
    for i, shard in enumerate(shards):
        file = f"{name}-{i + 1:05}-of-{SHARDS:05}.safetensors"
        save_file(shard, directory / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(shard, file))
    write_json(
        directory / f"{name}.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": where},
    )


def export(work, out, lvsa=LVSA):
    write_json(
        out / "model_index.json",
        {
            "_class_name": "WanPipeline",
            "_diffusers_version": VERSION,
            "boundary_ratio": None,
            "expand_timesteps": False,
            "scheduler": ["diffusers", "UniPCMultistepScheduler"],
            "text_encoder": ["transformers", "UMT5EncoderModel"],
            "tokenizer": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "WanTransformer3DModel"],
            "transformer_2": [None, None],
            "vae": ["diffusers", "AutoencoderKLWan"],
        },
    )
    write_json(
        out / "scheduler/scheduler_config.json",
        {
            "_class_name": "UniPCMultistepScheduler",
            "_diffusers_version": VERSION,
            "num_train_timesteps": 1000,
            "solver_order": 2,
            "solver_type": "bh2",
            "prediction_type": "flow_prediction",
            "predict_x0": True,
            "use_flow_sigmas": True,
            "flow_shift": lvsa["flow_shift"],
            "lower_order_final": True,
            "final_sigmas_type": "zero",
            "timestep_spacing": "linspace",
        },
    )
    write_json(
        out / "transformer/config.json",
        {"_class_name": "WanTransformer3DModel", "_diffusers_version": VERSION, **wan_dit.CONFIG},
    )
    save_shards(out / "transformer", "diffusion_pytorch_model", halved(work / "dit.safetensors"))

    report = json.loads((work / "vae.json").read_text())
    write_json(
        out / "vae/config.json",
        {
            "_class_name": "AutoencoderKLWan",
            "_diffusers_version": VERSION,
            **wan_vae.CONFIG,
            "latents_mean": report["latents_mean"],
            "latents_std": report["latents_std"],
        },
    )
    save_file(
        halved(work / "vae.safetensors"),
        out / "vae/diffusion_pytorch_model.safetensors",
        metadata={"format": "pt"},
    )

    model = (work / "spiece.model").read_bytes()
    encoder = text.make_encoder(text.Tokenizer(model).size())
    encoder.load_state_dict(halved(work / "text.safetensors"), strict=False)
    encoder.to(torch.bfloat16).save_pretrained(out / "text_encoder")
    text.save_tokenizer(out / "tokenizer", model)
    write_json(out / "lvsa.json", lvsa)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    args = parser.parse_args()
    export(args.work, args.out)


if __name__ == "__main__":
    main()
