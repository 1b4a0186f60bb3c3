#!/usr/bin/env python3
"""Trains small vocabularies and writes down what SentencePiece and tokenizers make of hostile lines.

usage: make_tokenizer_golden.py [FOLDER] [--lines N] [--seed S] [--corpus FUZZ_FOLDER]

Needs numpy, sentencepiece, tokenizers and transformers; the versions go into versions.txt. Writes into FOLDER
(here by default):
  NAME.charsmap  a precompiled_charsmap, kept once for all files that have it
  NAME.spiece    a spiece.model; without its charsmap, which the test appends as one more field
  NAME.json      a tokenizer.json; "@nmt_nfkc@" stands for the base64 text of nmt_nfkc.charsmap
  lines.bin      the lines: varint count; for each varint bytes, bytes
  FILE.ids       for each line: varint number of ids + 1, varint ids; 0: the library takes no such line
Varints are those of protocol buffers. FUZZ_FOLDER, if given, gets small files of both kinds for a fuzzer to
start from, and nothing else is done. All of it comes from word lists and Unicode's names: no downloads.
"""
import argparse
import base64
import io
import json
import pathlib
import random
import unicodedata

import numpy
import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = """
the a of and to in on with for from at by is are was one two three slow fast camera shot pans tracks
over under through city street night rain neon lights forest river mountain ocean wave sunset dawn fog
snow desert bird cat dog horse fox child woman man dancer painter robot train car bicycle boat plane
running walking turning falling rising glowing golden silver blue red green white black cinematic
photorealistic detailed watercolor animation 4k close-up wide-angle bokeh motion blur steady handheld
un une le la les des dans avec pour forêt lumière été cœur garçon façade naïve où ça
der die das und mit durch über Straße größer Mädchen schön Wälder fließt
el los niña corazón pequeño montaña señal según también
город улица ночь дождь свет лес река гора море волна закат рассвет туман снег медленно камера
πόλη δρόμος νύχτα βροχή φως δάσος ποτάμι βουνό θάλασσα
城市 街道 夜晚 下雨 霓虹 灯光 森林 河流 高山 大海 日落 镜头 缓慢 移动 一只 小猫 奔跑 电影 质感 色调 艳丽 过曝 静态 细节 模糊
東京 夜 雨 森 川 山 海 猫 が 走る ゆっくり カメラ スローモーション 美しい 光
도시 거리 밤 비 숲 강 산 바다 고양이 달린다 천천히 카메라 아름다운
مدينة شارع ليل مطر ضوء غابة نهر جبل بحر قطة
עיר רחוב לילה גשם אור יער נהר הר ים חתול
शहर सड़क रात बारिश रोशनी जंगल नदी पहाड़ समुद्र बिल्ली
เมือง ถนน คืน ฝน แสง ป่า แม่น้ำ ภูเขา ทะเล แมว
thành phố đường đêm mưa ánh sáng rừng sông núi biển mèo
""".split()

SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u1680", "\u2000", "\u2003", "\u2009", "\u200a",
          "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff", "\x0b", "\x0c", "\x1c", "\x85",
          "\u2581", "\u2581\u2581", " \u2581 "]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇩", "1️⃣", "☃", "☃️", "❤️‍🔥", "🧑🏿‍🚀", "🫠", "©", "™", "\u200d", "\ufe0f"]
MARKS = ["\u0300", "\u0301", "\u0308", "\u0323", "\u0327", "\u0345", "\u20dd", "\u3099", "\u309a", "\uff9e", "\uff9f",
         "\u05b0", "\u064b", "\u093c", "\u094d", "\u0e48", "\u1ab0", "\u0f71", "\u0f72"]
COMPAT = list("①②⑳ⅧⅨ㍿㌀㎏ﬁﬀﬃ²³½¼ªºµſΩKÅ℡№…‥—～＠Ａｚ０９＃ﾞｶﾞﾊﾟｧㄱㅏ㈱㋿Ǆǅĳŉϒẛﷺ﷼ﻻﺍ") + ["\u0958", "\u09dc", "\u0344", "\u2126",
         "\u212b", "\uf900", "\U0001d400", "\U0001d7d8", "\U0001f100", "\U0002f800", "\u1e9b\u0323", "\u0130", "ẞ"]
SPECIAL = ["</s>", "<pad>", "<unk>", "<s>", "<extra_id_0>", "<extra_id_7>", "<extra_id_77>", "<0x41>", "<0x0A>", "<sep>",
           "⟦mask⟧", "foo bar", "word", "WORD", "word_", "\u203fword", "½tok", "@@", "@@@", "``", "▁", "<0xG1>"]
CONTROLS = [chr(c) for c in list(range(1, 32)) + list(range(0x7f, 0xa0))] + ["\u00ad", "\u200e", "\u200f", "\u202a",
            "\u202e", "\u2066", "\u2069", "\ufff9", "\ufffd", "\ufffe", "\uffff", "\U000e0041", "\U0010ffff", "\u034f"]
BROKEN = [b"\x80", b"\xbf", b"\xc0\xaf", b"\xc3", b"\xe2\x96", b"\xe2\x96\xe2\x96\x81", b"\xed\xa0\x80", b"\xf0\x9f\x98",
          b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xff", b"\xfe", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\x00", b"\xc3\x28"]
BLOCKS = [(0x21, 0x7e), (0xa1, 0x17f), (0x250, 0x2af), (0x300, 0x36f), (0x370, 0x3ff), (0x400, 0x52f), (0x531, 0x58f),
          (0x591, 0x5f4), (0x600, 0x6ff), (0x900, 0x97f), (0x980, 0x9ff), (0xb80, 0xbff), (0xe01, 0xe5b), (0xf00, 0xfbc),
          (0x10a0, 0x10ff), (0x1100, 0x11ff), (0x1200, 0x137c), (0x13a0, 0x13f4), (0x1780, 0x17dd), (0x1e00, 0x1eff),
          (0x1f00, 0x1ffe), (0x2010, 0x2027), (0x2030, 0x205e), (0x2070, 0x209c), (0x20a0, 0x20bf), (0x2100, 0x218b),
          (0x2190, 0x23ff), (0x2460, 0x24ff), (0x2580, 0x27bf), (0x2e80, 0x2ed5), (0x3000, 0x30ff), (0x3131, 0x318e),
          (0x3200, 0x33ff), (0x4e00, 0x9fff), (0xa000, 0xa4c6), (0xac00, 0xd7a3), (0xf900, 0xfad9), (0xfb00, 0xfb06),
          (0xfb1d, 0xfdfb), (0xfe20, 0xfe2f), (0xfe30, 0xfeff), (0xff01, 0xffee), (0x10400, 0x1044f), (0x1d400, 0x1d7ff),
          (0x1f100, 0x1f1ff), (0x1f300, 0x1faf6), (0x20000, 0x2007f)]


def pick_char(rng):
    """A character that all libraries know: tokenizers' NFKC is of Unicode 9, before these two had rules."""
    while True:
        c = chr(rng.randint(*rng.choice(BLOCKS)))
        if unicodedata.category(c) != "Cn" and c not in "\u09fe\U0001f16c":
            return c


def corpus(rng):
    names = [unicodedata.name(chr(c), "").lower() for c in range(0x20, 0x3000)]
    lines = [n for n in names if n]
    for _ in range(6000):
        lines.append(" ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 12))))
    for _ in range(600):
        lines.append("".join(rng.choice(WORDS) for _ in range(rng.randint(2, 5))))
    return lines


def jamo(rng):
    text = ""
    for _ in range(rng.randint(1, 6)):
        text += chr(rng.randint(0x1100, 0x1112)) + chr(rng.randint(0x1161, 0x1175))
        text += rng.choice(["", chr(rng.randint(0x11a8, 0x11c2)), chr(rng.randint(0xac00, 0xd7a3))])
    return text


def line(rng):
    def some(source, low, high, glue=""):
        return glue.join(source() for _ in range(rng.randint(low, high)))

    kinds = [
        lambda: some(lambda: rng.choice(WORDS), 1, 9, " "),
        lambda: some(lambda: rng.choice(WORDS), 1, 6, rng.choice(SPACES)),
        lambda: some(lambda: rng.choice(WORDS) + rng.choice(SPACES), 1, 5),
        lambda: rng.choice(SPACES) + some(lambda: rng.choice(WORDS + SPACES), 1, 6) + rng.choice(SPACES),
        lambda: some(lambda: pick_char(rng), 1, 16),
        lambda: some(lambda: pick_char(rng) + rng.choice(MARKS + [""]), 1, 8),
        lambda: some(lambda: rng.choice(COMPAT) + rng.choice(MARKS + [""] * 8), 1, 8),
        lambda: some(lambda: rng.choice(EMOJI + WORDS), 1, 8),
        lambda: some(lambda: rng.choice(CONTROLS + WORDS[:20]), 1, 8),
        lambda: some(lambda: rng.choice(SPECIAL + WORDS[:30] + SPACES), 1, 8),
        lambda: some(lambda: rng.choice(SPECIAL) + rng.choice(COMPAT + SPACES + [""]), 1, 5),
        lambda: jamo(rng),
        lambda: some(lambda: rng.choice("ab"), 1, 24),
        lambda: some(lambda: some(lambda: rng.choice("ab"), 1, 11), 1, 6, " "),
        lambda: rng.choice(["ab", "xyz", "ナ", "город", "☃", "한", "a ", "②"]) * rng.randint(2, 30),
        lambda: some(lambda: rng.choice(WORDS).upper() + rng.choice([",", ".", "!", "'", "’", "-"]), 1, 6, " "),
        lambda: str(rng.random()) + rng.choice(WORDS) + str(rng.randint(0, 10 ** 12)),
    ]
    return rng.choice(kinds)()


def make_lines(rng, count):
    lines = [b"", b" ", b"  ", b"\x00", b"a\x00b", "\u2581".encode(), "\u0301".encode(), b"\x01\x02 x", b"\t x",
             b"one\x00\xff two", (" ".join(WORDS)).encode(), ("supercalifragilistic" * 60).encode(),
             # past where SentencePiece sets its fp32 sums back, among unknown characters and among letters
             *(("".join(chr(0x4e00 + i * 3 % 20000) for i in range(n)) + "".join(rng.choice("cd") for _ in range(200))).encode() for n in (1999, 2300)),
             b"xy", b"xya", b"axyb xyxy", b"yx",
             ("\U0001f9ff" * 700).encode(), (" " * 300 + "x" + " " * 300).encode(), ("é" * 500).encode()]
    while len(lines) < count:
        text = line(rng).encode()
        if rng.random() < 0.12:
            at = rng.randint(0, len(text))
            text = text[:at] + rng.choice(BROKEN) + text[at:]
            if rng.random() < 0.5:
                text = text[:rng.randint(0, len(text))]
        if len(text) <= 200:
            lines.append(text)
    return lines


SPIECES = {
    "t5": dict(vocab_size=1200, normalization_rule_name="nmt_nfkc", character_coverage=0.98),
    "bytes": dict(vocab_size=1600, normalization_rule_name="nfkc", byte_fallback=True, character_coverage=0.98,
                  user_defined_symbols=["<sep>", "⟦mask⟧", "foo bar", "@@", "①", "a\u0301b"]),
    "identity": dict(vocab_size=800, normalization_rule_name="identity", add_dummy_prefix=False,
                     remove_extra_whitespaces=False, character_coverage=0.98, user_defined_symbols=["word", "  "]),
    "suffix": dict(vocab_size=900, normalization_rule_name="nmt_nfkc", treat_whitespace_as_suffix=True,
                   byte_fallback=True, character_coverage=0.98, split_by_whitespace=False),
}


def train(name, lines):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, num_threads=1, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=2, **SPIECES[name])
    return out.getvalue()


def inexact(near, rng):
    """An fp32 number that tokenizers reads from its shortest decimal form as another fp64 than the nearest."""
    while True:
        score = numpy.float32(near + rng.uniform(-0.01, 0.01)).item()
        t = Tokenizer.from_str(Tokenizer(models.Unigram([("<unk>", score)], 0)).to_str())
        if json.loads(t.to_str())["model"]["vocab"][0][1] != score:
            return score


def make_ties(rng):
    """Pieces of a and b have their length's score: where a single letter goes between pairs, the last bit decides.
    Pieces of c and d are about as good as what they are made of: sums in fp32 part from those in fp64."""
    scores = [inexact(near, rng) for near in (-9.6, -13.2, -29.0, -40.0)]
    m = proto.ModelProto()
    for text, score, kind in [("<pad>", 0, 3), ("</s>", 0, 3), ("<unk>", 0, 2), ("\u2581", -1, 1)]:
        m.pieces.add(piece=text, score=score, type=kind)
    for n in range(1, 5):
        for bits in range(2 ** n):
            text = "".join("ab"[bits >> i & 1] for i in range(n))
            m.pieces.add(piece=text, score=scores[n - 1], type=5 if text in ("abb", "baab", "bb") else 1)
            m.pieces.add(piece=text.translate({97: "c", 98: "d"}), score=(0, -9.6, -13.2, -22.8, -26.4)[n] + rng.uniform(-0.01, 0.01), type=1)
    m.trainer_spec.model_type, m.trainer_spec.unk_id = 1, 2
    m.normalizer_spec.name = "identity"
    return m.SerializeToString(deterministic=True)


def make_odd():
    """Two unknown characters are better than the piece that is both; a piece is there twice."""
    pieces = [("<pad>", 35.0), ("</s>", 35.0), ("<unk>", 35.0), ("\u2581", 36.0), ("xy", 30.0), ("a", 31.0), ("b", 34.0), ("a", 33.5),
              ("<0x61>", 30.5), ("ab", 66.0)]
    t = Tokenizer(models.Unigram(pieces, 2, True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    return t


def unigram(model, extra):
    pieces = [(p.piece, p.score) for p in model.pieces]
    pieces += [(f"<extra_id_{i}>", 0.0) for i in range(extra - 1, -1, -1)]
    return Tokenizer(models.Unigram(pieces, model.trainer_spec.unk_id, model.trainer_spec.byte_fallback))


def end_with_eos(t):
    t.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"],
                                                     special_tokens=[("</s>", 1)])


def make_jsons(protos, files):
    """The shapes in which T5 and UMT5 tokenizers come, and one that has every component."""
    charsmap = {name: m.normalizer_spec.precompiled_charsmap for name, m in protos.items()}
    specials = [AddedToken(s, special=True, normalized=False) for s in ("<pad>", "</s>", "<unk>")]
    sentinels = [AddedToken(f"<extra_id_{i}>", special=True, normalized=False) for i in range(100)]
    out = {}

    # transformers 5: T5Tokenizer's own shape
    v5 = transformers.T5Tokenizer(vocab=[(p.piece, p.score) for p in protos["t5"].pieces] +
                                  [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)],
                                  _spm_precompiled_charsmap=charsmap["t5"])
    out["t5_v5"] = v5.backend_tokenizer

    # transformers 4: SpmConverter and T5Converter
    t = unigram(protos["t5"], 100)
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap["t5"]), normalizers.Strip(left=False, right=True),
                                         normalizers.Replace(Regex(" {2,}"), "▁")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    end_with_eos(t)
    t.add_special_tokens(specials + sentinels)
    out["t5_v4"] = t

    # byte fallback, "first", tokens of all kinds
    t = unigram(protos["bytes"], 8)
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap["bytes"]), normalizers.Strip(True, True)])
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    t.post_processor = processors.TemplateProcessing(
        single="<extra_id_7> $A <extra_id_6> </s>", pair="$A $B",
        special_tokens=[("</s>", 1), ("<extra_id_7>", t.token_to_id("<extra_id_7>")), ("<extra_id_6>", t.token_to_id("<extra_id_6>"))])
    t.add_special_tokens(specials + sentinels[:4])
    t.add_tokens([AddedToken("<sep>", normalized=False, lstrip=True, rstrip=True), AddedToken("word", normalized=True, single_word=True),
                  AddedToken("½tok", normalized=True), AddedToken("@@", normalized=False), AddedToken("@@@", normalized=False, rstrip=True),
                  AddedToken("⟦mask⟧", normalized=False, single_word=True, lstrip=True), AddedToken("ナ", normalized=True),
                  AddedToken("camera", normalized=True, lstrip=True)])
    out["bytes_first"] = t

    # no charsmap at all
    t = unigram(protos["identity"], 0)
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace("``", '"'), normalizers.Replace(Regex("a+"), "a"),
                                         normalizers.Lowercase(), normalizers.Strip(True, False)])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always", split=True)])
    out["identity_all"] = t
    t = unigram(protos["identity"], 0)
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap["t5"]), normalizers.Lowercase(), normalizers.Nmt(), normalizers.Replace("``", '"'), normalizers.Strip(True, False)])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first", split=True)])
    out["identity_first"] = t
    t = unigram(protos["identity"], 0)
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    end_with_eos(t)
    t.add_special_tokens(specials)
    out["identity_never"] = t

    # sums that tie
    t = unigram(protos["ties"], 0)
    t.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    out["ties"] = t
    out["odd"] = make_odd()

    texts = {}
    for name, t in out.items():
        text = json.dumps(json.loads(t.to_str()), ensure_ascii=name == "t5_v4", separators=(",", ":"))
        out[name] = Tokenizer.from_str(text)  # the scores as the library reads them
        for blob, data in files.items():
            if blob.endswith(".charsmap"):
                text = text.replace(base64.b64encode(data).decode(), f"@{blob[:-9]}@")
        texts[name] = text
    return out, texts


def make_corpus(folder):
    """Files of a few kilobytes: tiny vocabularies, a charsmap of three rules, every component."""
    rng = random.Random(7)
    lines = [" ".join("".join(rng.choice("abcde") for _ in range(rng.randint(1, 6))) for _ in range(4)) + " ☃①" for _ in range(300)]
    rules = folder / "rules.tsv"
    rules.write_text("2460\t31\n61 301\t62\nFF76 FF9E\t30AC\n2603\t\n")
    files = {}
    for name, settings in {"rules": dict(vocab_size=40, normalization_rule_tsv=str(rules)),
                           "bytes": dict(vocab_size=310, normalization_rule_name="identity", byte_fallback=True, user_defined_symbols=["<sep>", "ab"]),
                           "suffix": dict(vocab_size=30, normalization_rule_name="identity", treat_whitespace_as_suffix=True)}.items():
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, num_threads=1, model_type="unigram", pad_id=0, eos_id=1,
            unk_id=2, bos_id=-1, minloglevel=2, **settings)
        files[f"{name}.model"] = out.getvalue()
    rules.unlink()
    m = proto.ModelProto.FromString(files["rules.model"])
    t = unigram(m, 2)
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(m.normalizer_spec.precompiled_charsmap), normalizers.Strip(left=False, right=True),
                                         normalizers.Replace(Regex(" {2,}"), "▁")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    end_with_eos(t)
    t.add_tokens([AddedToken("<sep>", normalized=False, lstrip=True, rstrip=True), AddedToken("b", normalized=True, single_word=True)])
    files["rules.json"] = t.to_str().encode()
    t = unigram(proto.ModelProto.FromString(files["suffix.model"]), 1)
    t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace("de", "ed")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="never", split=True)])
    files["chain.json"] = t.to_str().encode()
    t = unigram(proto.ModelProto.FromString(files["bytes.model"]), 0)
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    files["bytes.json"] = json.dumps(json.loads(t.to_str()), separators=(",", ":")).encode()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    print({name: len(data) for name, data in files.items()})


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def ids_of(encode, lines):
    out = bytearray()
    for text in lines:
        ids = encode(text)
        out += b"\0" if ids is None else varint(len(ids) + 1) + b"".join(map(varint, ids))
    return bytes(out)


def encode_json(t):
    def encode(text):
        try:
            return t.encode(text.decode()).ids
        except UnicodeDecodeError:
            return None
    return encode


def main():
    options = argparse.ArgumentParser()
    options.add_argument("folder", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    options.add_argument("--lines", type=int, default=2400)
    options.add_argument("--seed", type=int, default=20)
    options.add_argument("--corpus", type=pathlib.Path)
    options = options.parse_args()
    if options.corpus:
        return make_corpus(options.corpus)
    training = corpus(random.Random(1))
    lines = make_lines(random.Random(options.seed), options.lines)

    files, protos = {}, {}
    files["lines.bin"] = varint(len(lines)) + b"".join(varint(len(text)) + text for text in lines)
    for name, settings in {**SPIECES, "ties": {}}.items():
        data = train(name, training) if settings else make_ties(random.Random(2))
        sp = sentencepiece.SentencePieceProcessor(model_proto=data)
        files[f"{name}.spiece.ids"] = ids_of(lambda text: sp.encode(text) + [sp.eos_id()], lines)
        protos[name] = m = proto.ModelProto.FromString(data)
        rule = m.normalizer_spec.precompiled_charsmap
        bare = proto.ModelProto.FromString(data)
        if rule:
            files[f"{settings['normalization_rule_name']}.charsmap"] = rule
            bare.normalizer_spec.ClearField("precompiled_charsmap")
        files[f"{name}.spiece"] = bare.SerializeToString(deterministic=True)
    jsons, texts = make_jsons(protos, files)
    for name, t in jsons.items():
        files[f"{name}.json.ids"] = ids_of(encode_json(t), lines)
        files[f"{name}.json"] = texts[name].encode()
    files["versions.txt"] = "".join(f"{m.__name__} {m.__version__}\n" for m in (sentencepiece, tokenizers, transformers)).encode()

    options.folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (options.folder / name).write_bytes(data)
    print(f"{len(lines)} lines, {sum(map(len, files.values()))} bytes in {len(files)} files")


if __name__ == "__main__":
    main()
