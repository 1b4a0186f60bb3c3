"""The text side: a SentencePiece model of the captions, and a small UMT5 encoder.

A text is ids [L], the last one </s>. WanPipeline pads ids to 512, encodes them with a mask and sets
the rows past L to zero; encoding LENGTH ids with the mask gives the same L rows, so training stops
there."""

import collections
import io
import itertools
import math
import random

import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
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


def encode(encoder, ids):
    """(rows [B, LENGTH, WIDTH], lengths [B]) of ids [B, LENGTH]; rows past a text's end are
    zeros."""
    mask = ids != 0
    rows = encoder(ids, attention_mask=mask.long()).last_hidden_state
    return rows * mask[..., None], mask.sum(-1)


def save_tokenizer(directory, model):
    """Writes spiece.model, and tokenizer.json beside it for the tokenizers library."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.json"):
        old.unlink()  # transformers would read tokenizer.json in place of spiece.model
    (directory / "spiece.model").write_bytes(model)
    T5Tokenizer.from_pretrained(directory, extra_ids=0).save_pretrained(directory)
