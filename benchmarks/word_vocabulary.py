"""A byte-pair vocabulary in CLIP's format in which given words are one token each.

CLIP's own is 49,408 entries of which a benchmark reads a hundred; it does not ship with the package. What costs time is
how many tokens a prompt has, and this vocabulary gives common words as many as CLIP's does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, WhitespaceSplit
from tokenizers.trainers import BpeTrainer

from glipv2_mmdet.text.clip_vocabulary import END, MASK, START, WORD_END

#: More than any list of words here needs; training stops when every word is one token.
MOST_ENTRIES = 20000


def write_vocabulary(folder: Path, words: Iterable[str]) -> str:
    """``vocab.json`` and ``merges.txt`` as CLIP's are laid out: bytes, ends of words, merges, start and end token.

    Args:
        folder: where to.
        words: lower-case ASCII words.

    Returns:
        The folder, as ``CLIPTextEncoder`` takes it.
    """
    tokenizer = Tokenizer(BPE(end_of_word_suffix=WORD_END))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    letters = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=MOST_ENTRIES, initial_alphabet=letters, end_of_word_suffix=WORD_END, show_progress=False
    )
    # the mask token is written in byte letters already
    tokenizer.train_from_iterator([*words, MASK.removesuffix(WORD_END)], trainer)
    tokenizer.model.save(str(folder))
    merges = [
        line
        for line in (folder / 'merges.txt').read_text(encoding='utf-8').splitlines()
        if not line.startswith('#version')
    ]
    entries = [
        *letters,
        *(letter + WORD_END for letter in letters),
        *(line.replace(' ', '') for line in merges),
        START,
        END,
    ]
    (folder / 'merges.txt').write_text('\n'.join(['#version: 0.2', *merges]) + '\n', encoding='utf-8')
    (folder / 'vocab.json').write_text(
        json.dumps({entry: i for i, entry in enumerate(entries)}, ensure_ascii=False), encoding='utf-8'
    )
    return str(folder)
