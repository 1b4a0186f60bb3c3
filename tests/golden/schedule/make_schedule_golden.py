"""Writes schedule.safetensors beside this script: schedules and whole trajectories of diffusers' schedulers.

For each kind, number of steps and shift: `<kind>.<steps>.<shift>.` + sigmas [N + 1], timesteps [N] and
x [N, 16], the sample after each step. Kinds: unipc, unipc1 (order 1), euler (the scheduler's own levels),
even (levels 1, 1 - 1/N, ... given by the pipeline). `start` [16] is the sample all of them start from and
`target` [16] bends the velocity field, which only adds, multiplies and divides, so that it has the same bits
anywhere: v = x / (1 + x x) - target + s x / 2.
"""

import pathlib

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
STEPS = [1, 2, 3, 4, 10, 30, 50]
SHIFTS = [1, 3, 5, 7, 8, 12]


def unipc(shift, order):
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=float(shift), solver_order=order
    )


def schedulers(steps, shift):
    for kind, order in (("unipc", 2), ("unipc1", 1)):
        s = unipc(shift, order)
        s.set_timesteps(steps)
        yield kind, s
    s = FlowMatchEulerDiscreteScheduler(shift=float(shift))
    s.set_timesteps(steps)
    yield "euler", s
    s = FlowMatchEulerDiscreteScheduler(shift=float(shift))
    s.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1])
    yield "even", s


def trajectory(scheduler, start, target):
    x, out = start.reshape(1, 2, 2, 2, 2), []
    target = target.reshape(x.shape)
    for i, t in enumerate(scheduler.timesteps):
        v = x / (1 + x * x) - target + scheduler.sigmas[i] * x * 0.5
        x = scheduler.step(v, t, x, return_dict=False)[0]
        out.append(x.flatten())
    return torch.stack(out)


def main():
    generator = torch.Generator().manual_seed(7)
    tensors = {"start": torch.randn(16, generator=generator), "target": torch.randn(16, generator=generator)}
    for steps in STEPS:
        for shift in SHIFTS:
            for kind, s in schedulers(steps, shift):
                name = f"{kind}.{steps}.{shift}."
                tensors[name + "x"] = trajectory(s, tensors["start"], tensors["target"])
                tensors[name + "sigmas"] = s.sigmas
                tensors[name + "timesteps"] = s.timesteps.to(torch.float32)
    save_file(tensors, HERE / "schedule.safetensors")


main()
