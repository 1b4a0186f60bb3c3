"""Writes two tiny Wan 2.1 checkpoints and what diffusers makes of them, all beside this script.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 \
        tokenizers==0.23.3 sentencepiece==0.2.3 safetensors==0.8.0 numpy==2.4.6 protobuf==7.36.2
    python make_wan_golden.py            writes tiny-a/, tiny-b/, *.safetensors and cases.json
    python make_wan_golden.py --check    makes all of it again elsewhere and compares, then once
                                         more with diffusers in fp32; fails where anything differs

Every number comes from diffusers on the CPU, from the checkpoint as it was read back. It runs in
fp64, but for what diffusers itself keeps in fp32 (time embedding, layer norms, residual sums,
angles, sigmas), and the results are rounded to fp32. In fp32 throughout, cross-attention's sums
over 512 keys, most alike, are off by 5e-6: half of the bound that our own fp32 is held to.
README.md tells what the files hold. Letters: T latent frames, F frames, Y and X latent height and
width, L tokens of a text.
"""

import argparse
import contextlib
import io
import json
import math
import pathlib
import random
import re
import shutil
import sys
import tempfile
import zlib

import diffusers
import numpy as np
import sentencepiece
import torch
import transformers
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from diffusers.pipelines.wan import pipeline_wan
from safetensors.torch import load_file, save_file
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

HERE = pathlib.Path(__file__).parent
PATTERNS = HERE.parent / "pattern" / "pattern.json"
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-5}  # relative L2, of --check

# ---- prompts -----------------------------------------------------------------------------------

FOX = "a red fox runs over the snow, near the frozen river at night"
PROMPTS = {
    "plain": FOX,
    "empty": "",
    "negative": "色调艳丽，过曝，静态, blurred details, worst quality",
    # entities once and twice escaped, decimal, hexadecimal, without semicolon, from windows-1252
    "entities": "  A &amp;amp; B\t\n&lt;cat&gt; drinks &quot;tea&quot;\u00a0now&hellip; \u3000"
    "&#x41;&#233;&eacute &#128; &nosuch; &amp;  \r\n",
    "unicode": "Caf\u00e9 cafe\u0301 \ufb01ne \uff21\uff22\uff23 \uff11\uff12 \u00bd \u732b\u200b"
    "now",
    "unknown": "\U0001f98a snow \u2603\u9f98\u9f98 river",
    "special": "fox </s> snow<pad> river",
    "long": ", ".join([FOX + " while a small bird sings"] * 12),  # past the largest bucket
}
# The text cases: checkpoint, prompt, max_sequence_length. "cut" ones are longer than that.
TEXTS = {
    **{f"a.{p}": ("tiny-a", p, 512) for p in PROMPTS},
    "a.cut": ("tiny-a", "long", 16),
    **{f"b.{p}": ("tiny-b", p, 37) for p in ("plain", "empty", "negative", "entities", "unknown")},
    "b.long": ("tiny-b", "long", 512),
    "b.cut": ("tiny-b", "plain", 7),
}

# ---- checkpoints -------------------------------------------------------------------------------

# "weights": what the files hold; a transformer's fp32 islands stay F32 where "islands" is true.
CHECKPOINTS = {
    "tiny-a": {
        "seed": 1,
        "flow_shift": 3.0,
        "tokenizer": {"vocab_size": 800, "normalization_rule_name": "nmt_nfkc"},
        "text_encoder": {"num_layers": 3, "relative_attention_num_buckets": 32},
        "transformer": {"num_attention_heads": 2, "attention_head_dim": 64, "ffn_dim": 160},
        "vae": {"base_dim": 2, "decoder_base_dim": 4, "dim_mult": [1, 2, 4, 4]},
        "weights": {"text_encoder": "bfloat16", "transformer": "bfloat16", "vae": "float32"},
        "islands": True,
        "max_shard_size": "800KB",
    },
    "tiny-b": {
        "seed": 2,
        "flow_shift": 5.0,
        "tokenizer": {
            "vocab_size": 640,
            "normalization_rule_name": "identity",
            "byte_fallback": True,
        },
        "text_encoder": {
            "num_layers": 2,
            "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 20,
        },
        "transformer": {"num_attention_heads": 1, "attention_head_dim": 128, "ffn_dim": 96},
        "vae": {
            "base_dim": 6,
            "dim_mult": [1, 2, 2, 2],
            "latents_mean": [round(math.sin(3.0 * i + 1.0), 4) for i in range(16)],
            "latents_std": [round(1.5 + math.cos(2.0 * i), 4) for i in range(16)],
        },
        "weights": {"text_encoder": "float32", "transformer": "float16", "vae": "bfloat16"},
        "islands": False,
        "max_shard_size": "10GB",
    },
}
ISLANDS = ("time_embedder", "scale_shift_table", "norm2")

# Standard deviation of a weight times the root of its fan-in; the first that matches. Chosen so
# that attention is neither flat nor a single key, the text matters and few pixels are clamped.
GAINS = [
    (r"SelfAttention\.[qk]\.", 0.8),
    (r"text_embedder\.linear_1", 2.0),
    (r"time_proj", 0.5),
    (r"attn2\.to_out|ffn\.net\.2", 1.5),
    (r"proj_out", 0.8),
    (r"conv_out", 0.65),
    (r"", 1.0),
]


def randomize(module, seed):
    """Normal weights, norms round 1, biases that aren't zero; seeded by name, in any order."""
    for name, p in module.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed)
        x = torch.randn(p.shape, generator=generator)
        if re.search(r"scale_shift_table$", name):
            x *= 0.4
        elif re.search(r"attn2\.norm_[qk]", name):
            x = 1.6 + 0.3 * x
        elif re.search(r"gamma$", name) or (p.ndim == 1 and name.endswith("weight")):
            x = 1.0 + 0.25 * x
        elif p.ndim == 1:
            x *= 0.15
        elif not re.search(r"relative_attention_bias|shared|embed_tokens", name):
            gain = next(g for pattern, g in GAINS if re.search(pattern, name))
            x *= gain / math.sqrt(math.prod(p.shape[1:]))
        p.data = x


def store_as(module, dtype, islands):
    for name, p in module.named_parameters():
        if not (islands and any(i in name for i in ISLANDS)):
            p.data = p.data.to(getattr(torch, dtype))


def corpus():
    """Sentences of made-up words and of the prompts' words, common ones first as in a language."""
    r = random.Random(5)
    onsets, vowels = "b c d f g h j k l m n p r s t v w st tr sh".split(), "a e i o u ea ou".split()
    codas = ["", "", "n", "r", "s", "t", "ng", "ck"]
    syllables = [o + v + c for o in onsets for v in vowels for c in codas]
    words = ["".join(r.choices(syllables, k=r.choice((1, 2, 2, 3)))) for _ in range(1500)]
    known = FOX.replace(",", " ,").split()
    known += "while small bird sings Café tea now drinks cat blurred details worst quality".split()
    known += "色调艳丽 过曝 静态 猫 A B C é € & < > \" ; … 1 2 ½".split()
    words = known * 3 + words
    weights = [1.0 / (5 + i) for i in range(len(words))]
    return [" ".join(r.choices(words, weights, k=12)) for _ in range(2500)]


def make_tokenizer(directory, options):
    directory.mkdir(parents=True)
    path = directory / "spiece.model"
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=1.0,
        num_threads=1, minloglevel=2, **options
    )  # fmt: skip
    path.write_bytes(model.getvalue())
    T5Tokenizer.from_pretrained(str(directory), extra_ids=8).save_pretrained(directory)
    return T5Tokenizer.from_pretrained(str(directory))


def make_checkpoint(name, directory):
    c = CHECKPOINTS[name]
    shutil.rmtree(directory, ignore_errors=True)
    tokenizer = make_tokenizer(directory / "tokenizer", c["tokenizer"])
    text_encoder = UMT5EncoderModel(
        UMT5Config(vocab_size=(len(tokenizer) + 63) // 64 * 64, d_model=32, d_kv=8, num_heads=4,
                   d_ff=48, feed_forward_proj="gated-gelu", **c["text_encoder"])
    )  # fmt: skip
    transformer = WanTransformer3DModel(
        in_channels=16, out_channels=16, text_dim=32, freq_dim=256, num_layers=2, **c["transformer"]
    )
    vae = AutoencoderKLWan(
        z_dim=16, num_res_blocks=1, temperal_downsample=[False, True, True], **c["vae"]
    )
    parts = {"text_encoder": text_encoder, "transformer": transformer, "vae": vae}
    for part, module in parts.items():
        randomize(module, c["seed"])
        store_as(module, c["weights"][part], part == "transformer" and c["islands"])
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=c["flow_shift"]
    )
    pipe = WanPipeline(tokenizer=tokenizer, scheduler=scheduler, **parts)
    pipe.save_pretrained(directory, max_shard_size=c["max_shard_size"])


def open_checkpoint(root, name, dtype):
    pipe = WanPipeline.from_pretrained(root / name, dtype=dtype)
    pipe.name, pipe.spiece = name, root / name / "tokenizer" / "spiece.model"
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.text_encoder, pipe.transformer, pipe.vae):
        part.eval()
        assert part.dtype == dtype
    return pipe


# ---- text --------------------------------------------------------------------------------------


def clean(text):
    return pipeline_wan.prompt_clean(text)


def leave_out_ftfy(pipe):
    """ftfy is optional to the pipeline: we go without, and the ids don't depend on it."""
    fixed = [clean(p) for p in PROMPTS.values()]
    pipeline_wan.is_ftfy_available = lambda: False
    plain = [clean(p) for p in PROMPTS.values()]
    assert pipe.tokenizer(fixed).input_ids == pipe.tokenizer(plain).input_ids


def golden_text(pipes):
    tensors, cases = {}, []
    for name, (checkpoint, prompt, max_length) in TEXTS.items():
        pipe, text = pipes[checkpoint], PROMPTS[prompt]
        ids = pipe.tokenizer(clean(text), max_length=max_length, truncation=True).input_ids
        embedding = pipe._get_t5_prompt_embeds(text, max_sequence_length=max_length)[0]
        assert embedding.shape[0] == max_length and not embedding[len(ids) :].any()
        tensors[f"{name}.embedding"] = embedding[: len(ids)]
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(pipe.spiece))
        cases.append({
            "name": name, "file": "text.safetensors", "checkpoint": checkpoint, "prompt": prompt,
            "max_length": max_length, "length": len(ids), "ids": ids,
            "sentencepiece_ids": (pieces.encode(clean(text))[: max_length - 1] + [1]),
        })  # fmt: skip
    for name, prompt in (("a.plain", "plain"), ("b.long", "long")):
        pipe = pipes["tiny-" + name[0]]
        ids = torch.tensor([pipe.tokenizer(clean(PROMPTS[prompt])).input_ids])
        states = pipe.text_encoder(ids, output_hidden_states=True).hidden_states
        for i, state in enumerate(states[:-1]):  # the last one is after the final norm
            tensors[f"{name}.hidden.{i}"] = state[0]
    return {"text.safetensors": tensors}, cases


# ---- transformer -------------------------------------------------------------------------------


def distance(have, want):
    """Relative L2."""
    have, want = have.double(), want.double()
    return float((have - want).norm() / want.norm())


def away(have, want, least):
    """A difference that a test must be able to see; rounded, for cases.json."""
    d = distance(have, want)
    assert d > least, d
    return float(f"{d:.3g}")


def noise(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text_of(pipe, name):
    checkpoint, prompt, max_length = TEXTS[name]
    return pipe._get_t5_prompt_embeds(PROMPTS[prompt], max_sequence_length=max_length)


@contextlib.contextmanager
def recorded(modules, inputs=()):
    """Lists of what each module put out (or, for `inputs`, was given), call by call."""
    seen, handles = {name: [] for name in {**modules, **dict(inputs)}}, []

    def output_hook(name):
        def hook(module, args, out):
            seen[name].append((out if torch.is_tensor(out) else out[0]).clone())

        return hook

    def input_hook(name):
        def hook(module, args):
            seen[name].append(args[0].clone())

        return hook

    handles += [m.register_forward_hook(output_hook(n)) for n, m in modules.items()]
    handles += [m.register_forward_pre_hook(input_hook(n)) for n, m in dict(inputs).items()]
    yield seen
    for handle in handles:
        handle.remove()


def golden_forward(pipe, name, text, shape, timestep):
    t, c = pipe.transformer, pipe.transformer.condition_embedder
    length = len(pipe.tokenizer(clean(PROMPTS[TEXTS[text][1]])).input_ids)
    modules = {
        "time_sinusoid": c.timesteps_proj,
        "temb": c.time_embedder,
        "timestep_proj": c.time_proj,
        "text_projected": c.text_embedder,
        "proj_out": t.proj_out,
        "velocity": t,
    }
    for i, block in enumerate(t.blocks):
        modules |= {
            f"block.{i}": block,
            f"block.{i}.self_attention": block.attn1,
            f"block.{i}.cross_attention": block.attn2,
            f"block.{i}.ffn": block.ffn,
        }
    inputs = {"patch_embedding": t.blocks[0], "head": t.proj_out}
    x, embedding = noise(100 + timestep, 1, *shape), text_of(pipe, text)
    with recorded(modules, inputs) as seen:
        t(x.to(t.dtype), torch.tensor([timestep]), embedding)
    out = {n: v[0][0] for n, v in seen.items()}
    out["timestep_proj"] = out["timestep_proj"].unflatten(0, (6, -1))
    # Rows past the text are those of zero embeddings, all alike: one of them is kept, the last.
    assert distance(out["text_projected"][length], out["text_projected"][-1]) < 1e-6
    out["text_projected"] = out["text_projected"][: length + 1]
    cos, sin = t.rope(x)
    out |= {"rope_cos": cos[0, :, 0, 0::2], "rope_sin": sin[0, :, 0, 1::2]}
    out |= {"x": x[0], "text": embedding[0, :length]}
    file = f"{name}.safetensors"
    case = {
        "name": name, "file": file, "checkpoint": pipe.name, "text": text, "timestep": timestep,
        "shape": list(shape),
    }  # fmt: skip
    return {file: out}, case


def size_of(shape):
    """WanPipeline's arguments for a latent [C, T, Y, X]."""
    return {"num_frames": 4 * shape[1] - 3, "height": 8 * shape[2], "width": 8 * shape[3]}


def denoise(pipe, case, x, before_step=lambda i: None, output_type="latent"):
    """WanPipeline itself, with the noise given; the velocities and the latents of each step."""
    latents = []

    def after_step(pipe, i, t, values):
        latents.append(values["latents"].clone())
        before_step(i + 1)
        return values

    before_step(0)
    positive, negative = (TEXTS[case[key]] for key in ("text", "negative_text"))
    assert positive[2] == negative[2]
    with recorded({"velocity": pipe.transformer}) as seen:
        result = pipe(
            PROMPTS[positive[1]], PROMPTS[negative[1]], latents=x, guidance_scale=case["guidance"],
            num_inference_steps=case["steps"], max_sequence_length=positive[2],
            output_type=output_type, callback_on_step_end=after_step, **size_of(x.shape[1:])
        ).frames[0]  # fmt: skip
    out = {"noise": x[0]}
    for i, latent in enumerate(latents):
        cond, uncond = seen["velocity"][2 * i : 2 * i + 2]
        away(cond, uncond, 1e-2)
        out |= {f"step.{i}.cond": cond[0], f"step.{i}.uncond": uncond[0]}
        out[f"step.{i}.latent"] = latent[0]
    case["timesteps"] = pipe.scheduler.timesteps.tolist()
    case["sigmas"] = pipe.scheduler.sigmas.tolist()
    return out, result


def new_case(name, pipe, texts, shape, steps=4, guidance=5.0):
    return {
        "name": name, "file": f"{name}.safetensors", "checkpoint": pipe.name, "text": texts[0],
        "negative_text": texts[1], "shape": list(shape), **size_of(shape), "steps": steps,
        "guidance": guidance, "flow_shift": pipe.scheduler.config.flow_shift,
    }  # fmt: skip


def golden_denoise(pipe, name, texts, shape, seed):
    case = new_case(name, pipe, texts, shape)
    out, _ = denoise(pipe, case, noise(seed, 1, *shape))
    return {case["file"]: out}, case


def golden_end_to_end(pipe, name, texts, shape, seed):
    case = new_case(name, pipe, texts, shape)
    out, frames = denoise(pipe, case, noise(seed, 1, *shape), output_type="np")
    last = case["steps"] - 1
    out = {"noise": out["noise"], "latent": out[f"step.{last}.latent"]}
    return {case["file"]: out | {"frames": torch.from_numpy(frames)}}, case


# ---- the sparse pattern ------------------------------------------------------------------------


def anchors(frames, first, interval, offset):
    found = set(range(min(first, frames)))
    if interval:
        found |= {(offset + i * interval) % frames for i in range(-(-frames // interval))}
    return sorted(found)


def window(f, frames, half, anchor_list, expand):
    """First and last frame of f's window; None for half = 0."""
    if half == 0:
        return None
    low = max(0, min(f - half, frames - 1 - 2 * half))
    high = min(frames - 1, max(f + half, 2 * half))
    wanted = min(2 * half + 1, frames - len(anchor_list))
    left = True
    while expand and sum(i not in anchor_list for i in range(low, high + 1)) < wanted:
        if low == 0 and high == frames - 1:
            break
        if left and low > 0:
            low -= 1
        elif not left and high < frames - 1:
            high += 1
        left = not left
    return low, high


def automatic_interval(frames, half, first, reference, scale):
    budget = max(first + 1, math.floor(reference * scale))
    if frames <= budget:
        return 1
    target = max(first, budget - min(2 * half + 1, frames))
    strict = max(k for k in range(1, frames + 1) if len(anchors(frames, first, k, 0)) >= target)
    m = 2 * half + first
    fallback = math.ceil(max(frames - m, budget - m) / max(budget - m, 1))
    return max(strict, fallback)


def attended(frames, half, first, interval, offset, expand):
    """Sorted list of frames for each frame."""
    g = anchors(frames, first, interval, offset)
    rows = []
    for f in range(frames):
        w = window(f, frames, half, g, expand)
        rows.append(sorted(set(g) | set(range(w[0], w[1] + 1) if w else [])))
    return rows


def check_pattern():
    """The functions above against the vectors that the reference implementation made."""
    cases = json.loads(PATTERNS.read_text())
    for c in cases:
        frames, half, first = c["latent_frames"], c["window"], c["n_first"]
        k = c["interval"]
        if k is None:
            k = automatic_interval(frames, half, first, c["reference"], c["sparsity_scale"])
        g = anchors(frames, first, k, c["offset"])
        assert (k, g) == (c["kfi"], c["globals"]), c
        rows = attended(frames, half, first, k, c["offset"], c["expand_window"])
        assert [len(r) for r in rows] == c["attended"], c
    return len(cases)


class MaskedProcessor(WanAttnProcessor):
    """The stock processor of self-attention, given a mask [N, N]: True where a key is attended."""

    mask = None

    def __call__(self, attn, x, text=None, attention_mask=None, rotary_emb=None):
        return super().__call__(attn, x, text, self.mask[None, None], rotary_emb)


def golden_sparse(pipe, name, texts, shape, seed, options):
    case = new_case(name, pipe, texts, shape) | options
    frames, patches = shape[1], shape[2] * shape[3] // 4
    half, first, k = case["window"], case["n_first"], case["interval"]
    if k is None:
        k = automatic_interval(frames, half, first, case["reference"], 1.0)
    case |= {"patches_per_frame": patches, "kfi": k, "offsets": [], "attended": []}
    processor = MaskedProcessor()

    def set_mask(rows):
        mask = torch.zeros(frames, frames, dtype=torch.bool)
        for f, row in enumerate(rows):
            mask[f, row] = True
        processor.mask = mask.repeat_interleave(patches, 0).repeat_interleave(patches, 1)

    def before_step(i):
        if i == case["steps"]:
            return
        rows = attended(frames, half, first, k, i % k, case["expand_window"])
        case["offsets"].append(i % k)
        case["attended"].append(rows)
        set_mask(rows)

    x = noise(seed, 1, *shape)
    dense, _ = denoise(pipe, dict(case), x)
    for block in pipe.transformer.blocks:
        block.attn1.set_processor(processor)
    first_block = pipe.transformer.blocks[0]
    modules = {"block.0": first_block, "block.0.self_attention": first_block.attn1}
    with recorded(modules) as seen:
        out, _ = denoise(pipe, case, x, before_step)
    for block in pipe.transformer.blocks:
        block.attn1.set_processor(WanAttnProcessor())
    last = f"step.{case['steps'] - 1}.latent"
    case["distance_from_dense"] = away(out[last], dense[last], 1e-2)
    # velocities and block of the first step only; the block's of its conditional pass
    kept = {n: t for n, t in out.items() if n.startswith("step.0") or "latent" in n or n == "noise"}
    return {case["file"]: kept | {n: outputs[0][0] for n, outputs in seen.items()}}, case


# ---- RIFLEx ------------------------------------------------------------------------------------


def nearest_frequency(size, length, theta=10000.0):
    """The temporal frequency whose period, 2 pi theta^(2j/size) frames, is nearest to `length`."""
    periods = [2 * math.pi * theta ** (2 * j / size) for j in range(size // 2)]
    return min(range(size // 2), key=lambda j: abs(periods[j] - length))


def golden_riflex(pipe, name, text, shape, timestep, k, s, length, theta=10000.0):
    rope, x, embedding = pipe.transformer.rope, noise(timestep, 1, *shape), text_of(pipe, text)
    size = rope.t_dim
    chosen = nearest_frequency(size, length) if k is None else k

    def run():
        t = pipe.transformer
        return t(x.to(t.dtype), torch.tensor([timestep]), embedding).sample[0]

    plain, saved = run(), (rope.freqs_cos.clone(), rope.freqs_sin.clone())
    frequencies = theta ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    frequencies[chosen] = 2 * math.pi / (length * s)
    angles = torch.outer(torch.arange(rope.max_seq_len, dtype=torch.float64), frequencies)
    rope.freqs_cos[:, :size] = angles.cos().float().repeat_interleave(2, dim=1)
    rope.freqs_sin[:, :size] = angles.sin().float().repeat_interleave(2, dim=1)
    velocity = run()
    rope.freqs_cos, rope.freqs_sin = saved
    assert torch.equal(run(), plain)
    file = f"{name}.safetensors"
    case = {
        "name": name, "file": file, "checkpoint": pipe.name, "text": text, "timestep": timestep,
        "shape": list(shape), "riflex_k": k, "riflex_s": s, "riflex_train_len": length, "k": chosen,
        "frequency": 2 * math.pi / (length * s), "distance_from_plain": away(velocity, plain, 1e-2),
    }  # fmt: skip
    return {file: {"x": x[0], "velocity": velocity}}, case


# ---- VAE ---------------------------------------------------------------------------------------


def decode(vae, z):
    """As WanPipeline: latent [1, 16, T, Y, X] of the denoiser -> frames [1, 3, F, 8 Y, 8 X]."""
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1).to(vae.dtype)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1).to(vae.dtype)
    return vae.decode(z.to(vae.dtype) / (1.0 / std) + mean).sample


def golden_vae(pipe, name, shapes, detailed):
    d, out = pipe.vae.decoder, {}
    modules = {"post_quant": pipe.vae.post_quant_conv}
    modules |= {"conv_in": d.conv_in, "mid_block": d.mid_block}
    modules |= {f"up.{i}": block for i, block in enumerate(d.up_blocks)}
    clamped = {}
    for shape in shapes:
        part, z = f"t{shape[1]}", noise(700 + shape[1], 1, *shape)
        with recorded(modules) as seen:
            frames = decode(pipe.vae, z)
        out |= {f"{part}.z": z[0], f"{part}.frames": frames[0]}
        clamped[part] = float(f"{(frames.abs() == 1.0).float().mean():.3g}")
        if part != detailed:
            continue
        # the decoder runs once a latent frame: its pieces are joined in time
        out |= {f"{part}.{n}": torch.cat(v, dim=2)[0] for n, v in seen.items()}
        video = pipe.video_processor.postprocess_video(frames, output_type="np")[0]
        out[f"{part}.rounded_u8"] = torch.from_numpy((video * 255).round().astype(np.uint8))
        out[f"{part}.truncated_u8"] = torch.from_numpy((video * 255).astype(np.uint8))
    assert 0.0 < max(clamped.values()) < 0.1, clamped  # some are, so that the clamp counts
    file = f"{name}.safetensors"
    case = {
        "name": name, "file": file, "checkpoint": pipe.name, "parts": list(clamped),
        "detailed": detailed, "clamped": clamped, "latents_mean": pipe.vae.config.latents_mean,
        "latents_std": pipe.vae.config.latents_std,
    }  # fmt: skip
    return {file: out}, case


# ---- all of it ---------------------------------------------------------------------------------


def make_goldens(root, dtype):
    """Files of tensors by name, and the contents of cases.json."""
    pipes = {name: open_checkpoint(root, name, dtype) for name in CHECKPOINTS}
    a, b = pipes.values()
    leave_out_ftfy(a)
    files, text_cases = golden_text(pipes)
    # sparse-a: the interval is found automatically and the window expanded; sparse-b: neither
    sparse_a = {"window": 1, "n_first": 1, "reference": 5, "interval": None, "expand_window": True}
    sparse_b = {"window": 1, "n_first": 2, "reference": 5, "interval": 4, "expand_window": False}
    texts_a, texts_b = ("a.plain", "a.negative"), ("b.plain", "b.negative")
    stages = {
        "forward": [
            golden_forward(a, "forward-a", "a.plain", (16, 3, 6, 8), 874),
            golden_forward(b, "forward-b", "b.plain", (16, 4, 4, 10), 61),
        ],
        "denoise": [
            golden_denoise(a, "denoise-a", texts_a, (16, 3, 6, 8), 11),
            golden_denoise(b, "denoise-b", texts_b, (16, 4, 4, 10), 12),
        ],
        "sparse": [
            golden_sparse(a, "sparse-a", texts_a, (16, 11, 4, 6), 13, sparse_a),
            golden_sparse(b, "sparse-b", texts_b, (16, 9, 6, 8), 14, sparse_b),
        ],
        "riflex": [
            golden_riflex(a, "riflex-a", "a.plain", (16, 11, 4, 6), 500, None, 4.0, 21),
            golden_riflex(b, "riflex-b", "b.plain", (16, 9, 4, 6), 501, 2, 8.0, 5),
        ],
        "vae": [
            golden_vae(a, "vae-a", [(16, 1, 6, 8), (16, 2, 6, 8), (16, 5, 4, 6)], "t2"),
            golden_vae(b, "vae-b", [(16, 3, 3, 5)], "t3"),
        ],
        "end_to_end": [
            golden_end_to_end(a, "end-to-end-a", ("a.entities", "a.empty"), (16, 3, 6, 8), 15),
            golden_end_to_end(b, "end-to-end-b", texts_b, (16, 2, 4, 10), 16),
        ],
    }
    cases = {
        "versions": {m.__name__: m.__version__ for m in (torch, diffusers, transformers)},
        "checkpoints": CHECKPOINTS,
        "prompts": {n: {"text": p, "cleaned": clean(p)} for n, p in PROMPTS.items()},
        "text": text_cases,
    }
    for stage, results in stages.items():
        cases[stage] = [case for _, case in results]
        for tensors, _ in results:
            files |= tensors
    cases["tensors"] = {
        f: {n: list(t.shape) for n, t in sorted(tensors.items())} for f, tensors in files.items()
    }
    return files, cases


def write_checkpoints(root):
    for name in CHECKPOINTS:
        make_checkpoint(name, root / name)


def write_goldens(root, dtype):
    files, cases = make_goldens(root, dtype)
    for name, tensors in files.items():
        tensors = {n: t if t.dtype == torch.uint8 else t.float() for n, t in tensors.items()}
        save_file({n: t.contiguous() for n, t in tensors.items()}, root / name)
    text = json.dumps(cases, indent=1, ensure_ascii=False)
    # lists of plain values on one line each
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s*\n\s*", " ", m.group()), text)
    (root / "cases.json").write_text(text + "\n")
    for path in root.rglob("*.safetensors"):
        path.chmod(0o644)


def check_file(have, want, tolerance):
    """The first difference, or None, and the largest distance."""
    if not want.exists():
        return "missing", 0.0
    if have.suffix != ".safetensors":
        return (None if have.read_bytes() == want.read_bytes() else "bytes differ"), 0.0
    a, b = load_file(have), load_file(want)
    if a.keys() != b.keys():
        return f"other tensors: {sorted(a.keys() ^ b.keys())}", 0.0
    largest = 0.0
    for n in a:
        if (a[n].shape, a[n].dtype) != (b[n].shape, b[n].dtype):
            return f"{n} has another shape or type", largest
        if a[n].dtype == torch.uint8:
            if (a[n].int() - b[n].int()).abs().max() > 1:
                return f"{n} is off by more than 1", largest
        elif not torch.equal(a[n], b[n]):
            largest = max(largest, distance(a[n], b[n]))
            if not distance(a[n], b[n]) <= tolerance:
                return f"{n} is off by {distance(a[n], b[n]):.3g}, relative L2", largest
    return None, largest


def check_all():
    with tempfile.TemporaryDirectory() as directory:
        root, bad = pathlib.Path(directory), 0
        write_checkpoints(root)
        for dtype, tolerance in TOLERANCES.items():
            write_goldens(root, dtype)
            print(f"made again in {dtype}:")
            for path in sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()):
                trouble, largest = check_file(root / path, HERE / path, tolerance)
                if trouble or path.suffix == ".safetensors":
                    print(f"  {path}: {trouble or f'within {largest:.2g}'}")
                bad += trouble is not None
        print(f"{bad} differences")
        return bad != 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    print(f"pattern functions agree with {check_pattern()} vectors")
    if arguments.check:
        sys.exit(check_all())
    write_checkpoints(HERE)
    write_goldens(HERE, torch.float64)


main()
