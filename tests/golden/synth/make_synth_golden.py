"""Writes names and shapes of the tensors that the modules of published checkpoints save.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.24.0 accelerate==1.15.0 \
        tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2
    python make_synth_golden.py               writes *.txt beside this script, from the sizes below
    python make_synth_golden.py --load DIR    loads what `lvsa synth tiny DIR` made, compares
                                              its two tokenizers and makes a video

The modules are made on the meta device, so no memory is taken. A line is a name and a shape.
"""
import pathlib
import sys

import sentencepiece
import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

HERE = pathlib.Path(__file__).parent
# The published config.json's, as far as they are not the classes' defaults.
TRANSFORMER = dict(attention_head_dim=128, text_dim=4096, in_channels=16, out_channels=16)
UMT5 = dict(d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, vocab_size=256384,
            feed_forward_proj="gated-gelu")


def modules():
    yield "transformer-1.3b", WanTransformer3DModel(num_attention_heads=12, num_layers=30,
                                                    ffn_dim=8960, **TRANSFORMER)
    yield "transformer-14b", WanTransformer3DModel(num_attention_heads=40, num_layers=40,
                                                   ffn_dim=13824, **TRANSFORMER)
    yield "text_encoder", UMT5EncoderModel(UMT5Config(**UMT5))
    yield "vae", AutoencoderKLWan()


def write():
    with torch.device("meta"):
        for name, module in modules():
            state = module.state_dict()
            state.pop("encoder.embed_tokens.weight", None)  # shared.weight, and saved once
            lines = [f"{key} {list(state[key].shape)}\n" for key in sorted(state)]
            (HERE / f"{name}.txt").write_text("".join(lines))


def load(directory):
    pipe = WanPipeline.from_pretrained(directory, dtype=torch.float32)
    for part in ("transformer", "vae", "text_encoder"):
        numbers = [p.float() for p in getattr(pipe, part).state_dict().values()]
        assert all(n.isfinite().all() for n in numbers)
        print(part, sum(n.numel() for n in numbers), "numbers")
    pieces = sentencepiece.SentencePieceProcessor(f"{directory}/tokenizer/spiece.model")
    for text in ("bada fox, \"ca\" bi", "  hudo   zezo! ", ""):
        ids = pipe.tokenizer(text).input_ids
        assert ids == pieces.encode(text) + [1]
        print(repr(text), ids)
    out = pipe("bada ca fox", height=64, width=64, num_frames=9, num_inference_steps=2,
               output_type="np").frames
    print("video", out.shape, "mean", out.mean(), "deviation", out.std())


if __name__ == "__main__":
    load(sys.argv[2]) if sys.argv[1:2] == ["--load"] else write()
