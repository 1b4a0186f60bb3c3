"""Muon (Jordan et al., 2024) with the scale of Moonlight (Liu et al., 2025): the momentum of each
matrix is made orthogonal, and its step is as large as AdamW's usually are, so that both take one
learning rate."""

import torch

STEPS = ((3.4445, -4.7750, 2.0315),) * 5  # of Newton-Schulz, as published


def orthogonal(x):
    """x [N, rows, columns] with its singular values brought near 1 (0.7 to 1.2), in bf16."""
    tall = x.shape[1] > x.shape[2]
    y = x.mT if tall else x
    y = (y / (y.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(torch.bfloat16)
    for a, b, c in STEPS:
        square = y @ y.mT
        y = a * y + torch.baddbmm(square, square, square, beta=b, alpha=c) @ y
    return y.mT if tall else y


class Muon(torch.optim.Optimizer):
    """Takes matrices; those of one shape are stacked. Reads nothing back from the device: lr may be
    a tensor there, and where found_inf is one, as step_if_finite() sets it, no weight moves."""

    def __init__(self, matrices, lr, momentum=0.95, weight_decay=0.1):
        groups = {}
        for p in matrices:
            groups.setdefault(p.shape, []).append(p)
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([{"params": group} for group in groups.values()], defaults)
        self.found_inf = None

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            params, momentum, rate = group["params"], group["momentum"], group["lr"]
            gradient = torch.stack([p.grad for p in params])
            if self.found_inf is not None:
                gradient = torch.where(self.found_inf > 0, 0.0, gradient)
                rate = rate * (1 - self.found_inf)
            state = self.state[params[0]]  # of the whole stack
            if not state:
                state["mean"] = torch.zeros_like(gradient)
            mean = state["mean"].lerp_(gradient, 1 - momentum)
            change = orthogonal(gradient.lerp(mean, momentum)).float()
            change = change * (-0.2 * max(gradient.shape[1:]) ** 0.5 * rate)
            torch._foreach_mul_(params, 1 - rate * group["weight_decay"])
            torch._foreach_add_(params, list(change.unbind()))
