"""The tokenizer: CLIP's byte-pair encoding, learnt from our own captions.

All 256 bytes are tokens, so any text in any script can be encoded; a word that means something is one token.
"""

import json
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from deploy.demo.captions import caption, noise, vocabulary
from deploy.demo.drawing import random_scene

VOCABULARY_SIZE = 1500
MAX_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def train_tokenizer(folder: Path, *, seed: int) -> None:
    rng = Random(seed)
    texts = [" ".join(vocabulary())] * 500
    texts += [caption(random_scene(rng), rng).text for _ in range(6000)] + [
        noise(rng).text for _ in range(1500)
    ]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = _learner()
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY_SIZE - 2,
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    merges = [(first, second) for first, second in json.loads(learner.to_str())["model"]["merges"]]
    tokens = alphabet + [f"{letter}</w>" for letter in alphabet] + [a + b for a, b in merges] + [START, END]
    vocabulary_ids = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = CLIPTokenizer(vocab=vocabulary_ids, merges=merges, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    # The two files that older readers of the format look for beside tokenizer.json.
    (folder / "vocab.json").write_text(json.dumps(vocabulary_ids, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def _learner() -> Tokenizer:
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return learner
