"""Trains the text encoder to bind: each row of an object's phrase has to tell that object's colour,
size, shape and motion, and each row of a text the background.

    python train_text.py --work DIR --seconds 90

Takes spiece.model from DIR and leaves text.safetensors there, which train_dit.py uses as it is. A
CPU does. Trained by the transformer's loss alone the rows of "red" and of "left" tell nothing of
one another, and with two objects nobody can know who moves where. Prints how often linear heads are
right on captions of combinations never trained."""

import time

BEGIN = time.time()  # --seconds has the imports too, 20 s on a new machine

import argparse
import pathlib
import random

import torch
from torch import nn
from torch.nn import functional as F

import captions
import text
from common import rate

BATCH = 64  # captions
RATE = 2e-3
TWO = 0.75  # share of captions with two objects
NOTHING = -100  # label of rows that needn't tell anything, as cross_entropy() has it
# What a row tells, and of what: a phrase's object, or the scene.
KINDS = {
    "colour": list(captions.COLOURS),
    "size": [None, *captions.SIZES],
    "shape": list(captions.SHAPES),
    "motion": list(captions.MOTIONS),
    "background": list(captions.BACKGROUNDS),
}


@torch.no_grad()
def look_near(encoder):
    """Begins attention such that two heads see what stands before, two what stands after, the
    nearer the more. From UMT5's own beginning it takes long to find that nearness matters."""
    for block in encoder.encoder.block:
        table = block.layer[0].SelfAttention.relative_attention_bias.weight  # [buckets, heads]
        before, after = table.chunk(2)  # of distances 0, 1, 2 ...
        far = torch.arange(len(before), dtype=torch.float32)
        for i, slope in enumerate((0.5, 1.0)):
            before[:, 2 * i], after[:, 2 * i] = -slope * far, -8.0
            before[:, 2 * i + 1], after[:, 2 * i + 1] = -8.0, -slope * far
            before[0, 2 * i + 1] = 0.0  # the row itself


def labels_of(scene, caption, tokenizer):
    """[L, kinds]: what each of the caption's ids has to tell."""
    labels = torch.full((text.LENGTH, len(KINDS)), NOTHING)
    count = lambda part: len(tokenizer.model.encode(part))
    labels[: count(caption) + 1, -1] = KINDS["background"].index(scene["background"])
    for o, (begin, end) in zip(scene["objects"], captions.spans(caption)):
        told = [values.index(o[kind]) for kind, values in KINDS.items() if kind in o]
        labels[count(caption[:begin]) : count(caption[:end]), :-1] = torch.tensor(told)
    return labels


def draw(rng, tokenizer, count, held_out):
    """ids [count, L] and labels [count, L, kinds] of new captions."""
    texts, labels = [], []
    for _ in range(count):
        scene = captions.draw_scene(rng, held_out, TWO)
        texts.append(captions.write(scene, rng.randrange(len(captions.TEMPLATES))))
        labels.append(labels_of(scene, texts[-1], tokenizer))
    return tokenizer(texts), torch.stack(labels)


class Heads(nn.Module):
    """What rows tell, linearly."""

    def __init__(self):
        super().__init__()
        self.all = nn.ModuleList(nn.Linear(text.WIDTH, len(v)) for v in KINDS.values())

    def forward(self, rows):
        return [head(rows) for head in self.all]


def loss_of(told, labels):
    """Sum over the kinds of each one's mean cross entropy."""
    pairs = zip(told, labels.unbind(-1))
    return sum(F.cross_entropy(t.flatten(0, 1), wanted.flatten()) for t, wanted in pairs)


def optimizer_for(encoder, heads):
    parameters = [*encoder.parameters(), *heads.parameters()]
    return torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.98), weight_decay=0.05)


def learn(encoder, heads, optimizer, ids, labels):
    """The loss before a step."""
    loss = loss_of(heads(text.encode(encoder, ids)[0]), labels)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def right(encoder, heads, ids, labels):
    """Share of the rows that tell it right, by kind."""
    told = heads(text.encode(encoder, ids)[0])
    shares = {}
    for (kind, _), t, wanted in zip(KINDS.items(), told, labels.unbind(-1)):
        there = wanted != NOTHING
        shares[kind] = (t.argmax(-1) == wanted)[there].float().mean().item()
    return shares


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=90)
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = text.Tokenizer((args.work / "spiece.model").read_bytes())
    encoder, heads = text.make_encoder(tokenizer.size()), Heads()
    look_near(encoder)
    optimizer = optimizer_for(encoder, heads)
    held = draw(random.Random(1), tokenizer, 1000, True)
    rng, step, total = random.Random(0), 0, 0.0
    while (fraction := (time.time() - BEGIN) / args.seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate(fraction, step, 50)
        ids, labels = draw(rng, tokenizer, BATCH, False)
        step, total = step + 1, total + learn(encoder, heads, optimizer, ids, labels)
        if step % 50 == 0:
            shares = ", ".join(f"{k} {v:.3f}" for k, v in right(encoder, heads, *held).items())
            print(f"{step} {time.time() - BEGIN:.0f}s loss {total / 50:.4f}, right: {shares}")
            total = 0.0
    text.save(encoder, args.work / "text.safetensors")


if __name__ == "__main__":
    main()
