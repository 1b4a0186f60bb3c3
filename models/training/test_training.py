"""Holds the training's own parts against diffusers', transformers' and the checker's against the
truth.

python test_training.py        some two minutes on two cores
"""

import pathlib
import random
import tempfile

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from transformers import AutoTokenizer

import captions
import check_video
import clips
import dit as wan_dit
import sample
import text
import vae as wan_vae
from evaluate import ATTRIBUTES


def error(a, b):
    return ((a - b).norm() / b.norm()).item()


def scenes(count, two=0.2):
    rng = random.Random(5)
    return [captions.draw_scene(rng, i % 2 == 0, two) for i in range(count)]


def test_captions():
    for i, scene in enumerate(scenes(3000)):
        assert captions.read(captions.write(scene, i % 3)) == scene
        assert captions.held_out(scene) == (i % 2 == 0)


def test_truth():
    """The checker finds what was drawn: each score at least 0.98 over 64 clips of 81 frames."""
    right = dict.fromkeys(ATTRIBUTES, 0)
    for i, scene in enumerate(scenes(64)):
        video = clips.render([scene], 81, "cpu", i)[0]
        frames = ((video * 0.5 + 0.5) * 255).round().byte().permute(1, 2, 3, 0).numpy()
        for quarter in check_video.check(frames, captions.write(scene))["quarters"]:
            for name in right:
                right[name] += quarter[name] / (64 * 4)
    print("  truth", {k: round(v, 4) for k, v in right.items()})
    assert min(right.values()) >= 0.98, right


def test_wrong_captions():
    """The checker refuses other colours, shapes and motions than were drawn."""
    for i, scene in enumerate(scenes(8, two=0)):
        video = clips.render([scene], 81, "cpu", i)[0]
        frames = ((video * 0.5 + 0.5) * 255).round().byte().permute(1, 2, 3, 0).numpy()
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


if __name__ == "__main__":
    for name, test in [*globals().items()]:
        if name.startswith("test_"):
            test()
            print("ok", name, flush=True)
