"""Tiny random language models in the real formats: a translator of the mBART-50 family and a GPT-2."""

import io
from pathlib import Path

import sentencepiece
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers import decoders as token_decoders
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from tests.support.sentences import SENTENCES

WIDTH = 16
END = "<|endoftext|>"
LIKELY_END = 8.0
"""Makes the translations of a random model short, but not empty."""


def save_translator(folder: Path, seed: int = 0, *, as_on_hub: bool = False) -> Path:
    """With codes for all 52 languages. Those on the hub have no tokenizer.json, so they need protobuf."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES.values()),
        model_writer=pieces,
        vocab_size=1200,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
    )
    if as_on_hub:
        (folder / "sentencepiece.bpe.model").write_bytes(pieces.getvalue())
        tokenizer = MBart50Tokenizer.from_pretrained(folder)
    else:
        tokenizer = MBart50Tokenizer(vocab=scored(pieces.getvalue()))
        tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    model = MBartForConditionalGeneration(
        MBartConfig(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=2 * WIDTH,
            decoder_ffn_dim=2 * WIDTH,
            max_position_embeddings=256,
            decoder_start_token_id=tokenizer.eos_token_id,
            init_std=1.0,
        )
    )
    model.final_logits_bias[0, tokenizer.eos_token_id] = LIKELY_END
    model.generation_config.min_new_tokens = 4
    model.save_pretrained(folder)
    return folder


def scored(pieces: bytes) -> list[tuple[str, float]]:
    known = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    return [(known.id_to_piece(i), known.get_score(i)) for i in range(known.get_piece_size())]


def save_writer(folder: Path, seed: int = 0) -> Path:
    """Knows single bytes and nothing else."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate([*letters, END])}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    backend.decoder = token_decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=END, eos_token=END, unk_token=END)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=WIDTH,
            n_layer=1,
            n_head=2,
            n_positions=128,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    ).save_pretrained(folder)
    return folder
