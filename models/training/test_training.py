"""Holds the training's own parts against diffusers', transformers' and the checker's against the
truth.

python test_training.py        some two minutes on two cores, no GPU
"""

import pathlib
import random
import tempfile

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from transformers import AutoTokenizer

import captions
import check_video
import clips
import dit as wan_dit
import quality
import sample
import text
import train_text
import vae as wan_vae
from bank import Bank
from common import Average
from evaluate import ATTRIBUTES
from muon import Muon, orthogonal
from step import Step
from together import Processes
from train_dit import optimizers_for, restore, save


def error(a, b):
    return ((a - b).norm() / b.norm()).item()


def scenes(count, two=0.2):
    rng = random.Random(5)
    return [captions.draw_scene(rng, i % 2 == 0, two) for i in range(count)]


def drawn(scene, seed):
    """A clip of 81 frames [F, H, W, 3] uint8, as check_video.py reads them."""
    video = clips.render([scene], 81, "cpu", seed)[0]
    return ((video * 0.5 + 0.5) * 255).round().byte().permute(1, 2, 3, 0).numpy()


def test_captions():
    for i, scene in enumerate(scenes(3000)):
        assert captions.read(captions.write(scene, i % 3)) == scene
        assert captions.held_out(scene) == (i % 2 == 0)


def test_truth():
    """The checker finds what was drawn: each score at least 0.98 over 64 clips of 81 frames; and
    all frames clean."""
    right = dict.fromkeys(ATTRIBUTES, 0)
    for i, scene in enumerate(scenes(64)):
        report = check_video.check(drawn(scene, i), captions.write(scene))
        assert report["clean"] == 1 and report["first_clean"], (scene, report["clean"])
        for quarter in report["quarters"]:
            for name in right:
                right[name] += quarter[name] / (64 * 4)
    print("  truth", {k: round(v, 4) for k, v in right.items()})
    assert min(right.values()) >= 0.98, right


def test_wrong_captions():
    """The checker refuses other colours, shapes and motions than were drawn."""
    for i, scene in enumerate(scenes(8, two=0)):
        frames = drawn(scene, i)
        said = scene["objects"][0]
        for key, names in (
            ("colour", list(captions.COLOURS)),
            ("shape", captions.SHAPES),
            ("motion", list(captions.MOTIONS)),
        ):
            other = names[(names.index(said[key]) + 1) % len(names)]
            report = check_video.check(
                frames, captions.write({**scene, "objects": [{**said, key: other}]})
            )
            assert not any(q[key] for q in report["quarters"]), (scene, key, other)


def test_blotch():
    """A patch of a foreign colour in the first frame's object, and a foreign background in another
    frame, are seen, there and nowhere else."""
    scene = {
        "background": "black",
        "objects": [{"colour": "orange", "size": "large", "shape": "square", "motion": "right"}],
    }
    frames = drawn(scene, 0)
    y, x = (int(np.median(where)) for where in (frames[0].max(-1) > 100).nonzero())
    frames[0, y - 5 : y + 5, x - 5 : x + 5] = (240, 230, 30)
    frames[40][frames[40].max(-1) < 100] = (30, 180, 50)
    report = check_video.check(frames, captions.write(scene))
    assert not report["first_clean"] and report["clean"] == 79 / 81, report["clean"]


@torch.no_grad()
def test_vae():
    """One pass is what diffusers does chunk by chunk."""
    torch.manual_seed(0)
    ours, theirs = wan_vae.VAE(), AutoencoderKLWan(**wan_vae.CONFIG)
    theirs.load_state_dict(ours.state_dict())
    video = torch.rand(1, 3, 17, 64, 64) * 2 - 1
    z = theirs.encode(video).latent_dist.mean
    assert error(ours.encode(video)[0], z) < 1e-5
    assert error(ours.decode(z).clamp(-1, 1), theirs.decode(z).sample) < 1e-5


@torch.no_grad()
def test_dit():
    """One padding row with a bias is what diffusers does with all of them."""
    torch.manual_seed(0)
    ours, theirs = wan_dit.DiT(), WanTransformer3DModel(**wan_dit.CONFIG)
    theirs.load_state_dict(ours.state_dict())
    rows, lengths = torch.randn(2, text.LENGTH, text.WIDTH), torch.tensor([10, 1])
    rows *= (torch.arange(text.LENGTH) < lengths[:, None])[..., None]
    full = torch.zeros(2, text.ROWS, text.WIDTH)
    full[:, : text.LENGTH] = rows
    z, timestep = torch.randn(2, 16, 5, 16, 16), torch.tensor([999.0, 340.0])
    table = wan_dit.rotary_table(5, 8, 8, 64, "cpu")
    wanted = theirs(
        hidden_states=z, timestep=timestep, encoder_hidden_states=full, return_dict=False
    )[0]
    assert error(ours(z, timestep, *wan_dit.pad_text(rows, lengths), table), wanted) < 1e-5


def test_schedule():
    for steps, shift in ((30, 3.0), (8, 5.0), (2, 1.0), (1, 3.0)):
        theirs = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
        )
        theirs.set_timesteps(steps)
        ours = sample.UniPC(steps, shift)
        assert ours.timesteps.tolist() == theirs.timesteps.tolist()
        a = b = torch.randn(2, 16)
        for i, t in enumerate(theirs.timesteps):
            a = theirs.step(torch.sin(2 * a) + t / 1000, t, a, return_dict=False)[0]
            b = ours.step(i, b, torch.sin(2 * b) + t / 1000)
        assert error(b, a) < 1e-5


def test_sparse():
    """Gathered frames are attention under a mask."""
    torch.manual_seed(0)
    kept = [[0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 3], [0, 1, 2, 3, 4], [0, 3, 4]]
    q, k, v = torch.randn(3, 2, 4, 5 * 6, 16).unbind(0)
    mask = torch.zeros(5, 5, dtype=torch.bool)
    for row, frames in zip(mask, kept):
        row[frames] = True
    mask = mask.repeat_interleave(6, 0).repeat_interleave(6, 1)
    counts = torch.tensor([len(r) for r in kept])
    frames = torch.tensor([r + [0] * (5 - len(r)) for r in kept])
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
    assert error(wan_dit.attend_frames(q, k, v, frames, counts, 6), wanted) < 1e-5


@torch.no_grad()
def test_text():
    """spiece.model and tokenizer.json agree, captions fit, and a short mask gives the rows of a
    long one."""
    model = text.make_tokenizer()
    ours = text.Tokenizer(model)
    with tempfile.TemporaryDirectory() as directory:
        text.save_tokenizer(pathlib.Path(directory), model)
        theirs = AutoTokenizer.from_pretrained(directory)
        for i, scene in enumerate(scenes(1000, two=0.6)):
            caption = captions.write(scene, i % 3)
            ids = [i for i in ours([caption])[0].tolist() if i]
            assert theirs(caption).input_ids == ids and len(ids) <= text.LENGTH
    encoder = text.make_encoder(ours.size()).eval()
    ids = ours(["a red circle moving left on a white background", ""])
    rows, lengths = text.encode(encoder, ids)
    full, again = text.encode(encoder, torch.nn.functional.pad(ids, (0, text.ROWS - text.LENGTH)))
    assert lengths.tolist() == again.tolist() == [10, 1]
    assert error(full[:, : text.LENGTH], rows) < 1e-5 and not full[:, text.LENGTH :].any()


@torch.no_grad()
def test_encoder():
    """UMT5 written out is UMT5, at the training's length and at the pipeline's."""
    torch.manual_seed(0)
    encoder = text.make_encoder(100).eval()
    for length in (text.LENGTH, text.ROWS):
        mask = torch.arange(length) < torch.tensor([[1], [9], [40]])
        ids = torch.randint(1, 100, (3, length)) * mask
        wanted = encoder(ids, attention_mask=mask.long()).last_hidden_state * mask[..., None]
        assert error(text.encode(encoder, ids)[0], wanted) < 1e-5


def test_binding():
    """Labels stand where their words do, and after a few steps each row tells whose it is."""
    tokenizer = text.Tokenizer(text.make_tokenizer())
    scene = {"background": "gray", "objects": []}
    for o in ("small", "red", "circle", "left"), (None, "blue", "square", "bounce-y"):
        scene["objects"].append(dict(zip(("size", "colour", "shape", "motion"), o)))
    caption = captions.write(scene, 1)
    labels, ids = train_text.labels_of(scene, caption, tokenizer), tokenizer([caption])[0]
    red, blue = (labels[:, 0] == 0), (labels[:, 0] == 2)
    assert tokenizer.model.decode(ids[red].tolist()) == "small red circle moving left"
    assert tokenizer.model.decode(ids[blue].tolist()) == "blue square bouncing up and down"
    assert (labels[red] == torch.tensor([0, 1, 0, 0, 2])).all()
    assert (labels[blue] == torch.tensor([2, 0, 1, 10, 2])).all()
    torch.manual_seed(0)
    encoder, heads = text.make_encoder(tokenizer.size()), train_text.Heads()
    train_text.look_near(encoder)
    optimizer, rng = train_text.optimizer_for(encoder, heads), random.Random(0)
    draw = lambda count, held: train_text.draw(rng, tokenizer, count, held)
    for _ in range(60):
        train_text.learn(encoder, heads, optimizer, *draw(train_text.BATCH, False))
    shares = train_text.right(encoder, heads, *draw(100, True))
    print("  right:", ", ".join(f"{k} {v:.3f}" for k, v in shares.items()))
    assert min(shares.values()) > 0.9


@torch.no_grad()
def test_quiet_padding():
    """At the beginning a text's rows hold most of each head's weight, not the padding."""
    torch.manual_seed(0)
    model = wan_dit.DiT()
    shares = []
    for quiet in (False, True):
        if quiet:
            wan_dit.quiet_padding(model)
        rows, lengths = torch.randn(2, text.LENGTH, text.WIDTH), torch.tensor([20, 10])
        rows *= (torch.arange(text.LENGTH) < lengths[:, None])[..., None]
        rows, bias = wan_dit.pad_text(rows, lengths)
        keys = model.condition_embedder.text(rows)
        for block in model.blocks:
            a = block.attn2
            q = a.norm_q(a.to_q(torch.randn(2, 50, 256))).unflatten(-1, (4, -1)).transpose(1, 2)
            k = a.norm_k(a.to_k(keys)).unflatten(-1, (4, -1)).transpose(1, 2)
            weights = (q @ k.mT / 8 + bias).softmax(-1)
            shares.append(weights[..., :-1].sum(-1).mean((0, 2)))
    before, after = torch.stack(shares).chunk(2)
    print(f"  a text's share: {before.mean():.3f} before, {after.min():.3f} or more after")
    assert after.min() > 0.75 and before.mean() < 0.25


def test_muon():
    """Singular values near 1, and steps of the length that AdamW's have."""
    torch.manual_seed(0)
    for shape in ((3, 32, 32), (2, 48, 16), (2, 16, 48)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)).float())
        assert values.median() > 0.6 and values.max() < 1.3
    matrices = [torch.nn.Parameter(torch.zeros(64, 32)) for _ in range(3)]
    optimizer = Muon(matrices, torch.tensor(0.01))
    for p in matrices:
        p.grad = torch.randn_like(p)
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert not matrices[0].any()
    optimizer.found_inf = None
    optimizer.step()
    assert 0.001 < matrices[0].detach().square().mean().sqrt() < 0.004


def small_step(kind, seed=0):
    """A Step of a small model on a bank of eight clips that a caption tells apart."""
    torch.manual_seed(seed)
    config = {**wan_dit.CONFIG, "num_layers": 2, "num_attention_heads": 1, "ffn_dim": 128}
    model, encoder = wan_dit.DiT(config), text.make_encoder(40).requires_grad_(False)
    bank = Bank(None, 8, 5, "cpu")
    plain = torch.randn(8, 16, 1, 1, 1, dtype=torch.bfloat16).expand(8, 16, 2, 16, 16)
    bank.add(plain, torch.zeros(8, text.LENGTH).long())
    bank.ids[:, 0], bank.ids[:, 1] = torch.arange(8) + 2, 1
    optimizers = optimizers_for(kind, model, False)
    average = Average(model, 0.98)
    nothing = torch.zeros(1, text.LENGTH).long()
    nothing[0, 0] = 1
    scale = torch.zeros(1, 16, 1, 1, 1), torch.ones(1, 16, 1, 1, 1)
    return Step(model, encoder, bank, optimizers, average, 4, scale, nothing, Processes())


def test_step():
    """The loss falls with both optimizers, more with the caption, and a saved training goes on as
    if nothing had been."""
    for kind in ("adamw", "muon"):
        step = small_step(kind)
        wan_dit.quiet_padding(step.model)
        step.average.restart()
        ids = step.bank.ids
        begin = sum(step.measure(step.bank.latents, ids))
        for i in range(60):
            step(2e-3, step.average.weight(i))
        end = sum(step.measure(step.bank.latents, ids))
        wrong = sum(step.measure(step.bank.latents, ids.roll(1, 0)))
        print(f"  {kind}: {begin:.3f} to {end:.3f}, {wrong:.3f} with wrong captions")
        assert end < 0.5 * begin and end < wrong
    parts = lambda s: (s.model, s.optimizers, s.average)
    other = small_step("muon", 1)
    other.bank.latents.copy_(step.bank.latents)
    other.encoder = step.encoder
    with tempfile.TemporaryDirectory() as directory:
        save(pathlib.Path(directory), "muon", *parts(step), 60, 9.0, 0)
        assert restore(pathlib.Path(directory), "muon", *parts(other)) == (60, 9.0, 0)
    for s in (step, other):
        for group in (g for optimizer in s.optimizers for g in optimizer.param_groups):
            group["lr"] = s.rate
        torch.manual_seed(3)
        s(1e-3, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(step.average.mean, other.average.mean))


def test_pairs():
    """The page counts captions that only one of two methods has right in all quarters."""

    def row(number, method, wrong):
        quarters = [dict.fromkeys(quality.JUDGED, True) for _ in range(4)]
        if wrong is not None:
            quarters[wrong]["motion"] = False
        return {"number": number, "method": method, "quarters": quarters}

    rows = [row(0, "lvsa", None), row(0, "dense", 2), row(1, "lvsa", None), row(1, "dense", None)]
    rows += [row(2, "lvsa", 0), row(2, "dense", None), row(3, "lvsa", None), row(3, "dense", 1)]
    rows += [row(4, "lvsa", None)]  # has no other to be compared with
    assert quality.pairs(rows, "lvsa", "dense") == "2 : 1"
    assert quality.pairs(rows, "dense", "lvsa") == "1 : 2"
    assert quality.pairs(rows, "dense", "riflex") == ""


def test_average():
    """A weight on the device gives what a number does; swapping twice changes nothing."""
    module = torch.nn.Linear(3, 3)
    a, b = Average(module, 0.9), Average(module, 0.9)
    with torch.no_grad():
        module.weight.add_(1)
    a.update(30), b.blend(torch.tensor(b.weight(30)))
    assert all(torch.allclose(x, y) for x, y in zip(a.mean, b.mean))
    live = module.weight.detach().clone()
    a.swap()
    assert torch.allclose(module.weight, b.mean[0])
    a.swap()
    assert torch.equal(module.weight, live)


def test_block_compiles():
    """A block is one graph, so that a CUDA graph can hold it."""
    torch.manual_seed(0)
    model = wan_dit.DiT({**wan_dit.CONFIG, "num_layers": 1})
    block, table = model.blocks[0], wan_dit.rotary_table(2, 2, 2, 64, "cpu")
    rows, bias = wan_dit.pad_text(torch.randn(1, 7, 256), torch.tensor([5]))
    inputs = torch.randn(1, 8, 256), rows, bias, torch.randn(1, 6, 256), table
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True, dynamic=False)
    assert error(compiled(*inputs), block(*inputs)) < 1e-5


if __name__ == "__main__":
    for name, test in [*globals().items()]:
        if name.startswith("test_"):
            test()
            print("ok", name, flush=True)
