"""A valid CLIP vocabulary small enough to write down: all bytes, a few words, the emoji that serves as mask token."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

#: In order of use. The last three build the emoji of two people and a heart.
MERGES = (
    ('c', 'a'),
    ('ca', 't</w>'),
    ('ca', 'r</w>'),
    ('d', 'o'),
    ('do', 'g</w>'),
    ('r', 'e'),
    ('re', 'd</w>'),
    ('ð', 'Ł'),
    ('Ĵ', 'ĳ</w>'),
    ('ðŁ', 'Ĵĳ</w>'),
)
VOCAB_SIZE = 2 * 256 + len(MERGES) + 2
MASK_ID = VOCAB_SIZE - 3


def write_folder(folder: Path) -> str:
    """``vocab.json`` and ``merges.txt`` as Hugging Face lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(ByteLevel.alphabet())
    entries = [
        *letters,
        *(f'{letter}</w>' for letter in letters),
        *(''.join(pair) for pair in MERGES),
        '<|startoftext|>',
        '<|endoftext|>',
    ]
    (folder / 'vocab.json').write_text(
        json.dumps({entry: i for i, entry in enumerate(entries)}, ensure_ascii=False), encoding='utf-8'
    )
    (folder / 'merges.txt').write_text(_merge_lines(), encoding='utf-8')
    return str(folder)


def write_merges(path: Path) -> str:
    """One gzip file of merges, as OpenAI lays them out."""
    path.write_bytes(gzip.compress(_merge_lines().encode('utf-8')))
    return str(path)


def _merge_lines() -> str:
    return '\n'.join(['#version: 0.2', *(' '.join(pair) for pair in MERGES)]) + '\n'
