"""One step of the transformer's training without the host: batch, loss and gradients are one CUDA
graph, optimizers and average of weights another; between them several processes exchange their
gradients. 64 clips of 81 frames are 7.7 TFLOP, which an H100 should do in 25 to 30 ms; launched
one by one, the kernels took 58."""

import itertools
import math
import time

import torch

import dit as wan_dit
import text
from common import step_if_finite

WITHOUT_TEXT = 0.1  # share of clips whose text is empty, for guidance
SHIFT = 3.0  # noise levels: s = SHIFT u / (1 + (SHIFT - 1) u), u logit-normal
SPREAD = 1.2
HIGH = 8.0  # the shift of half of them, as in sampling: what moves where is decided above 0.95


def shifted(x, shift=SHIFT):
    """Noise levels of normal numbers x."""
    u = torch.sigmoid(SPREAD * x)
    return shift * u / (1 + (shift - 1) * u)


def noise_levels(count, device):
    """Nine of ten from shifted logit-normal distributions, one of ten uniform."""
    normal, kind, even = torch.randn(count, device=device), *torch.rand(2, count, device=device)
    s = torch.where(kind < 0.55, shifted(normal), shifted(normal, HIGH))
    return torch.where(kind < 0.1, even, s)


def even_levels(count, device):
    """The middles of `count` equally likely parts of the logit-normal distribution."""
    part = (torch.arange(count, device=device) + 0.5) / count
    return shifted(math.sqrt(2) * torch.erfinv(2 * part - 1))


class Step:
    """Call it for a step: step(rate, weight), weight that of the new weights in the average.
    scale: (mean, deviation) of the latents; nothing: ids [1, L] of the empty text; processes:
    Processes that each draw a batch of their own."""

    def __init__(self, model, encoder, bank, optimizers, average, batch, scale, nothing, processes):
        device = self.device = nothing.device
        self.model, self.encoder, self.bank, self.batch = model, encoder, bank, batch
        self.optimizers, self.average = optimizers, average
        self.scale, self.nothing, self.processes = scale, nothing, processes
        self.rate, self.weight, self.sum, self.norm = torch.zeros(4, device=device).unbind()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate
        t, y, x = bank.latents.shape[2:]
        self.table = wan_dit.rotary_table(t, y // 2, x // 2, model.head_dim, device)
        self.parameters = list(model.parameters())
        self.gradient = self.gather()
        self.graphs = None

    def gather(self):
        """All gradients side by side in one tensor, each at a multiple of 256 bytes."""
        ends = list(itertools.accumulate(-(-p.numel() // 64) * 64 for p in self.parameters))
        gradient = torch.zeros(ends[-1], device=self.device)
        for p, begin in zip(self.parameters, [0, *ends]):
            p.grad = gradient[begin : begin + p.numel()].view_as(p)
        return gradient

    def draw(self):
        """latents [B, 16, T, Y, X] as in the bank, ids [B, L], noise levels [B], noise."""
        z, ids = self.bank.draw(self.batch)
        empty = torch.rand(self.batch, 1, device=self.device) < WITHOUT_TEXT
        return (
            z,
            torch.where(empty, self.nothing, ids),
            noise_levels(self.batch, self.device),
            torch.randn(z.shape, device=self.device),
        )

    @torch.no_grad()
    def text(self, ids):
        with self.autocast():
            return wan_dit.pad_text(*text.encode(self.encoder, ids))

    def loss(self, z, ids, s, noise):
        """Squared error of each clip's velocity [B], of draw()'s or others."""
        mean, deviation = self.scale
        z = (z.float() - mean) / deviation
        rows, bias = self.text(ids)
        with self.autocast():
            x = torch.lerp(z, noise, s.view(-1, 1, 1, 1, 1))
            velocity = self.model(x, 1000 * s, rows, bias, self.table)
        return (velocity - (noise - z)).square().mean((1, 2, 3, 4))

    def autocast(self):
        """Weights cast in one replay of the graph would be old in the next: nothing is kept."""
        on = self.device.type == "cuda"
        return torch.autocast(self.device.type, torch.bfloat16, on, cache_enabled=False)

    def find(self):
        """Gradients of a new batch."""
        self.gradient.zero_()
        loss = self.loss(*self.draw()).mean()
        loss.backward()
        self.sum += loss.detach()

    def update(self):
        """Optimizers and average, from the gradients."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            step_if_finite(optimizer, norm)
        self.average.blend(self.weight)
        self.norm.copy_(norm)

    def run(self):
        self.find()
        self.processes.average(self.gradient)
        self.update()

    def capture(self):
        """Records the graphs, after steps at rate 0 that compile and choose what is to be."""
        self.rate.zero_(), self.weight.zero_()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.find(), self.update()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.empty_cache()
        self.graphs = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        for graph, part in zip(self.graphs, (self.find, self.update)):
            with torch.cuda.graph(graph):
                part()
        self.sum.zero_()

    def replay(self):
        self.graphs[0].replay()
        self.processes.average(self.gradient)
        self.graphs[1].replay()

    def follow(self):
        """Weights and average of the first process, in all."""
        self.processes.follow(self.parameters + self.average.mean)

    def __call__(self, rate, weight):
        self.rate.fill_(rate), self.weight.fill_(weight)
        if self.graphs:
            self.replay()
        else:
            self.run()

    def measure(self, latents, ids):
        """Mean losses of the averaged weights on the first and the second half of the clips, each
        half at evenly spread noise levels, the same at each call. As many clips at a time as in
        training, with gradients prepared for: the compiled blocks are those of training."""
        g = torch.Generator("cpu").manual_seed(0)
        half = len(ids) // 2
        s = even_levels(half, self.device).repeat(2)
        losses = []
        self.average.swap()
        for at in torch.arange(len(ids), device=self.device).split(self.batch):
            noise = torch.randn(latents[at].shape, generator=g).to(self.device)
            losses.append(self.loss(latents[at], ids[at], s[at], noise).detach())
        self.average.swap()
        losses = torch.cat(losses)
        return losses[:half].mean().item(), losses[half:].mean().item()


def profile(step, count):
    """Prints the ms of a step and its parts, each alone and `count` times over, at rate 0, and on
    CUDA the kernels that take longest."""
    cuda = step.device.type == "cuda"
    wait = torch.cuda.synchronize if cuda else lambda: None

    def timed(name, fn):
        fn(), wait()
        begin = time.perf_counter()
        for _ in range(count):
            fn()
        host = time.perf_counter() - begin
        wait()
        whole = time.perf_counter() - begin
        print(f"  {name:24} {1e3 * whole / count:8.2f} ms, host {1e3 * host / count:8.2f}")

    drawn = step.draw()
    step.rate.zero_(), step.weight.zero_()
    timed("batch", step.draw)
    timed("text forward", lambda: step.text(drawn[1]))
    timed("forward", lambda: step.loss(*drawn))
    timed("forward and backward", lambda: step.loss(*drawn).mean().backward())
    timed("optimizer and average", step.update)
    timed("step without a graph", step.run)
    if step.graphs:
        timed("step", lambda: step(0.0, 0.0))
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
            step(0.0, 0.0), wait()
        print(trace.key_averages().table("cuda_time_total", row_limit=30, max_name_column_width=90))
    step.sum.zero_()
