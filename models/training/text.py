"""The text side: a SentencePiece model of the captions, and a small UMT5 encoder.

A text is ids [L], the last one </s>. WanPipeline pads ids to 512, encodes them with a mask and sets
the rows past L to zero; encoding LENGTH ids with the mask gives the same L rows, so training stops
there."""

import collections
import functools
import io
import itertools
import math
import random

import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import sentencepiece_model_pb2
from torch.nn import functional as F
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

import captions

LENGTH = 47  # the longest caption has fewer ids; test_training.py counts
ROWS = 512  # rows that the transformer attends to
WIDTH = 128


def make_tokenizer():
    """The bytes of a spiece.model whose pieces are the words of captions, and letters for other
    words."""
    rng = random.Random(0)
    lines = [
        captions.write(captions.draw_scene(rng, held), template)
        for _, held, template in itertools.product(range(2000), (False, True), range(3))
    ]
    blank = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=blank,
        model_type="unigram",
        vocab_size=128,
        hard_vocab_limit=False,
        num_threads=1,
        normalization_rule_name="nmt_nfkc_cf",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(blank.getvalue())
    del model.pieces[3:]
    words = collections.Counter(word for line in lines for word in line.replace(",", " ,").split())
    total = sum(words.values())
    scored = {
        ("" if word == "," else "\u2581") + word: math.log(count / total)
        for word, count in words.items()
    }
    for letter in "\u2581abcdefghijklmnopqrstuvwxyz.":
        scored.setdefault(letter, -15.0)
    for piece, score in sorted(scored.items(), key=lambda item: -item[1]):
        model.pieces.add(piece=piece, score=score)
    model.trainer_spec.vocab_size = len(model.pieces)
    return model.SerializeToString()


class Tokenizer:
    def __init__(self, model):
        self.model = sentencepiece.SentencePieceProcessor(model_proto=model)

    def size(self):
        return self.model.get_piece_size()

    def __call__(self, texts):
        """ids [B, LENGTH] int64, zeros past each end."""
        ids = torch.zeros(len(texts), LENGTH, dtype=torch.long)
        for row, text in zip(ids, texts):
            pieces = self.model.encode(text) + [1]
            if len(pieces) > LENGTH:
                raise ValueError(f"{text!r}: {len(pieces)} ids, at most {LENGTH} are wanted")
            row[: len(pieces)] = torch.tensor(pieces)
        return ids


def make_encoder(vocab_size):
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocab_size,
            d_model=WIDTH,
            d_kv=32,
            num_heads=4,
            d_ff=256,
            num_layers=2,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
        )
    )


def save(encoder, path):
    """Its weights, as load() and train_dit.py take them."""
    shared = "encoder.embed_tokens.weight"  # the same as shared.weight
    save_file({k: v for k, v in encoder.state_dict().items() if k != shared}, path)


def load(path, vocab_size):
    """The encoder that save() wrote, not to be trained on."""
    encoder = make_encoder(vocab_size).requires_grad_(False)
    encoder.load_state_dict(load_file(path), strict=False)
    return encoder


@functools.lru_cache
def distances(length, buckets, farthest, device):
    """Bucket [L, L] of each pair of a query and a key: exact when near, logarithmic when far."""
    half, exact = buckets // 2, buckets // 4

    def bucket(distance):
        d = abs(distance)
        if d >= exact:
            d = exact + int(math.log(d / exact) / math.log(farthest / exact) * (half - exact))
        return min(d, half - 1) + (half if distance > 0 else 0)

    rows = [[bucket(key - query) for key in range(length)] for query in range(length)]
    return torch.tensor(rows, device=device)


def encode(encoder, ids):
    """(rows [B, L, WIDTH], lengths [B]) of ids [B, L], L LENGTH or more; rows past a text's end are
    zeros. UMT5EncoderModel's numbers by its weights, but a CUDA graph can record it."""
    c, mask = encoder.config, ids != 0
    hidden = torch.zeros(ids.shape, device=ids.device).masked_fill(~mask, -math.inf)[:, None, None]
    at = distances(
        ids.shape[1],
        c.relative_attention_num_buckets,
        c.relative_attention_max_distance,
        ids.device,
    )
    norm = lambda x, layer: F.rms_norm(x, x.shape[-1:], layer.weight, c.layer_norm_epsilon)
    x = encoder.shared(ids)
    for block in encoder.encoder.block:
        a, feed = block.layer[0].SelfAttention, block.layer[1].DenseReluDense
        n = norm(x, block.layer[0].layer_norm)
        q, k, v = (w(n).unflatten(-1, (c.num_heads, -1)).transpose(1, 2) for w in (a.q, a.k, a.v))
        bias = F.embedding(at, a.relative_attention_bias.weight).permute(2, 0, 1) + hidden
        weights = ((q @ k.mT).float() + bias).softmax(-1)
        x = x + a.o((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))
        n = norm(x, block.layer[1].layer_norm)
        x = x + feed.wo(F.gelu(feed.wi_0(n), approximate="tanh") * feed.wi_1(n))
    return norm(x, encoder.encoder.final_layer_norm) * mask[..., None], mask.sum(-1)


def save_tokenizer(directory, model):
    """Writes spiece.model, and tokenizer.json beside it for the tokenizers library."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.json"):
        old.unlink()  # transformers would read tokenizer.json in place of spiece.model
    (directory / "spiece.model").write_bytes(model)
    T5Tokenizer.from_pretrained(directory, extra_ids=0).save_pretrained(directory)
