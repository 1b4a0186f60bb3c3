"""Several processes, one a GPU, that train one model; one alone where torchrun started no more."""

import os

import torch
from torch import distributed


class Processes:
    def __init__(self):
        self.rank = int(os.environ.get("RANK", 0))
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        if self.count > 1 and torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))

    def join(self):
        """Call it after graphs are recorded: no thread of NCCL's then disturbs that."""
        if self.count > 1:
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    def leave(self):
        if self.count > 1:
            distributed.destroy_process_group()

    def average(self, x):
        """x becomes its mean over the processes."""
        if self.count > 1:
            distributed.all_reduce(x)
            x.mul_(1 / self.count)

    @torch.no_grad()
    def follow(self, tensors):
        """All processes take the first one's tensors."""
        for x in tensors if self.count > 1 else ():
            distributed.broadcast(x, 0)

    def agree(self, number):
        """The first process's number, in all of them."""
        if self.count == 1:
            return number
        x = torch.tensor([number], dtype=torch.float64)
        x = x.cuda() if torch.cuda.is_available() else x
        distributed.broadcast(x, 0)
        return x.item()
