"""CLIP's byte-pair vocabulary, from the files it is published as.

Comes before ``tokenize.py``, which reads prompts with the tokenizer made here. No vocabulary ships with this package
and none is downloaded.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

START, END, WORD_END = '<|startoftext|>', '<|endoftext|>', '</w>'
#: CLIP has no mask token. The public GLIP code re-uses the entry of a rare emoji, id 49404 of the published vocabulary.
MASK = 'ðŁĴĳ</w>'
#: OpenAI's file holds more merges than CLIP was trained with; these give 49,408 entries.
_NUM_MERGES = 49152 - 2 * 256 - 2


def is_clip_folder(folder: Path) -> bool:
    """Whether a folder holds the two plain files of a byte-pair vocabulary, without a tokenizer that says its type."""
    names = {path.name for path in folder.iterdir()}
    return {'vocab.json', 'merges.txt'} <= names and not names & {'tokenizer.json', 'tokenizer_config.json'}


def tokenizer_from_folder(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder with ``vocab.json`` and ``merges.txt``.

    Raises:
        ValueError: start or end token are missing, or a file cannot be read.
    """
    try:
        vocab = json.loads((folder / 'vocab.json').read_text(encoding='utf-8'))
        lines = (folder / 'merges.txt').read_text(encoding='utf-8').splitlines()
    except (ValueError, RecursionError) as error:  # among them UnicodeDecodeError
        raise ValueError(
            f"Folder '{folder}' has an unreadable vocab.json or merges.txt ({error}). Expected the files "
            'of a CLIP tokenizer: copy them again.'
        ) from error
    if not isinstance(vocab, dict) or not all(type(number) is int and number >= 0 for number in vocab.values()):
        raise ValueError(
            f"'{folder / 'vocab.json'}' is {str(vocab)[:60]}. Expected an object of entries with their "
            'numbers, as CLIP has it: copy it again.'
        )
    return _build(folder, vocab, _pairs(lines))


def tokenizer_from_merges(path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of OpenAI's ``bpe_simple_vocab_16e6.txt.gz``, a list of merges in order of use.

    Ids follow from it: 256 bytes, the same as ends of words, the merges, then start and end token.

    Raises:
        ValueError: the file is no gzip file of such lines.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).decode('utf-8').splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Vocabulary file '{path}' is not a gzip file of merges ({error}). Expected CLIP's "
            'bpe_simple_vocab_16e6.txt.gz.'
        ) from error
    from tokenizers.pre_tokenizers import ByteLevel

    merges = _pairs(lines)[:_NUM_MERGES]
    # sorted by code point, the alphabet is in the order CLIP counts bytes in
    alphabet = sorted(ByteLevel.alphabet())
    entries = [*alphabet, *(letter + WORD_END for letter in alphabet), *(''.join(pair) for pair in merges), START, END]
    return _build(path, {entry: i for i, entry in enumerate(entries)}, merges)


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    """Merges of a file; its first line is a version."""
    return [tuple(parts) for line in lines[1:] if len(parts := line.split()) == 2]


def _build(source: Path, vocab: dict[str, int], merges: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    missing = [token for token in (START, END) if token not in vocab]
    if missing:
        raise ValueError(
            f"The vocabulary in '{source}' has no {', '.join(missing)}. Expected the byte-pair vocabulary "
            'of CLIP; give another kind of tokenizer as a folder with tokenizer.json.'
        )
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges)
    if len(tokenizer) != len(vocab):
        raise ValueError(
            f"transformers made {len(tokenizer)} entries of the {len(vocab)} in '{source}'. Expected all: "
            'the installed version reads them in another way. Save the tokenizer as a folder with '
            'tokenizer.json and give that folder.'
        )
    return tokenizer
