"""Writes the golden files beside this script with the Python safetensors and huggingface_hub packages.

single/model.safetensors: every supported type and rank, a few unsupported ones, notes.
sharded/: three shards with an index, as published checkpoints have them.

Element i of every float tensor is (i - 5) / 4: exact in each type. See tests/unit/test_safetensors.c.
"""

import pathlib

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


def ramp(*shape, dtype=torch.float32):
    count = torch.Size(shape).numel()
    return ((torch.arange(count, dtype=torch.float32) - 5) / 4).reshape(shape).to(dtype)


def main():
    single = HERE / "single"
    single.mkdir(exist_ok=True)
    (HERE / "sharded").mkdir(exist_ok=True)
    save_file(
        {
            "scalar": torch.tensor(-1.25),
            "empty": torch.zeros(0, 4),
            "vector.f32": ramp(7),
            "matrix.f16": ramp(3, 5, dtype=torch.float16),
            "matrix.bf16": ramp(5, 3, dtype=torch.bfloat16),
            "conv.bf16": ramp(2, 3, 1, 2, 2, dtype=torch.bfloat16),
            "counts.i64": torch.arange(3),
            "mask.bool": torch.tensor([True, False, True]),
            "small.f8": ramp(4).to(torch.float8_e4m3fn),
            "naïve/名": ramp(2),
        },
        single / "model.safetensors",
        metadata={"format": "pt", "made by": "the golden script"},
    )

    state = {"proj_out.weight": ramp(4, 8), "encoder.unused.weight": ramp(2, 2)}
    for block in range(12):
        state[f"blocks.{block}.norm.weight"] = ramp(8) + block
        state[f"blocks.{block}.to_q.weight"] = ramp(8, 8, dtype=torch.bfloat16)
    save_torch_state_dict(
        state,
        HERE / "sharded",
        filename_pattern="diffusion_pytorch_model{suffix}.safetensors",
        max_shard_size=800,
    )


main()
