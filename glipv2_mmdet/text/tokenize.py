"""Prompt → token ids, and for each phrase the positions of its tokens.

Comes after ``prompt.py`` and before the language model. Token positions come from the character offsets the
tokenizer reports, never from guessing neighbours; a phrase that loses all its tokens is named in a warning.
"""

from __future__ import annotations

import inspect
import logging
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from glipv2_mmdet.text import clip_vocabulary
from glipv2_mmdet.text.captions import close_up
from glipv2_mmdet.text.prompt import Phrase, Prompt, PromptError, shorten

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SHIPPED_VOCABS = {'bert-base-uncased': Path(__file__).with_name('bert_base_uncased_vocab.txt')}
_BERT_SPECIAL_TOKENS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
_UNUSED = re.compile(r'\[unused\d+\]')
# A tokenized prompt of 85 names takes about 40 kB, a counted name about 200 bytes: 20 MB and 4 MB at most, in
# each data-loader worker. Longer texts than this are not kept by the counter.
_MAX_PROMPTS, _MAX_COUNTS, _MAX_COUNTED_LENGTH = 512, 16384, 128
_MAX_WARNED = 16384


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt as the language model reads it.

    Args:
        prompt: The prompt itself.
        input_ids: Token ids with the start and end token, at most ``max_tokens``.
        phrase_tokens: K tuples of positions in ``input_ids``; ``()`` for a phrase behind the token limit.
        is_cut: Words behind the token limit are missing.
    """

    prompt: Prompt
    input_ids: tuple[int, ...]
    phrase_tokens: tuple[tuple[int, ...], ...]
    is_cut: bool = False

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of the phrases that have no token left."""
        return tuple(phrase.name for phrase, tokens in _phrases_with_tokens(self) if not tokens)


@dataclass(frozen=True)
class TokenBatch:
    """Token ids of B prompts, padded to the longest of them.

    Args:
        input_ids: (B, T) long.
        mask: (B, T) bool, True = real token.
        lengths: B numbers of real tokens, on the host, so that asking for padding does not wait for a device.
    """

    input_ids: Tensor
    mask: Tensor
    lengths: tuple[int, ...]

    @property
    def has_padding(self) -> bool:
        """Whether any prompt is shorter than the longest."""
        return min(self.lengths) < max(self.lengths)

    def to(self, device: torch.device | str) -> TokenBatch:
        """The same batch with its tensors on ``device``."""
        return replace(self, input_ids=self.input_ids.to(device), mask=self.mask.to(device))


class PromptTokenizer:
    """Tokenizes prompts with a fast tokenizer of transformers; bounded caches, no network.

    Args:
        vocab: ``'bert-base-uncased'`` (its vocabulary file comes with this package), the path of a
            WordPiece ``vocab.txt`` or of CLIP's ``bpe_simple_vocab_16e6.txt.gz``, or a folder with a saved
            tokenizer or with CLIP's ``vocab.json`` and ``merges.txt``.
        max_tokens: Most tokens of a prompt, start and end token included. 256 in GLIP and GLIPv2.
        lowercase: Whether a vocabulary *file* is for lower-case text; a folder says it itself.

    Raises:
        FileNotFoundError: ``vocab`` is neither a shipped name nor an existing path.
        ValueError: The file is no WordPiece vocabulary, the folder's tokenizer has no character offsets or
            does not hold its whole vocabulary, or ``max_tokens`` leaves no room for a word.
    """

    def __init__(self, vocab: str | Path = 'bert-base-uncased', max_tokens: int = 256, lowercase: bool = True) -> None:
        if max_tokens < 3:
            raise ValueError(f'max_tokens is {max_tokens}. Expected at least 3 (start, one word, end); 256 is usual.')
        self.vocab = str(vocab)
        self.max_tokens = max_tokens
        self.tokenizer = _load_tokenizer(vocab, lowercase)
        pad_id = self.tokenizer.pad_token_id
        # Tokenizers without a padding token (GPT type) can pad with anything: padding is masked everywhere.
        self.pad_id: int = pad_id if pad_id is not None else 0
        self.mask_id: int | None = _mask_id(self.tokenizer)
        self.start_id, self.end_id = _start_and_end(self.tokenizer)
        self.answer_token: str = _answer_token(self.tokenizer, self.mask_id)
        self.special_ids: tuple[int, ...] = tuple(self.tokenizer.all_special_ids)
        # an entry that is there twice has the second number, so that there are fewer entries than numbers
        self.vocab_size: int = max(self.tokenizer.get_vocab().values()) + 1
        self._make_caches()
        # the first call sets the library's tokenizer up, which must not happen in two threads at once
        self._count('')

    def __call__(self, prompt: Prompt) -> TokenizedPrompt:
        """Tokenize; a phrase owns every token whose characters overlap one of its spans.

        A prompt beyond ``max_tokens`` is cut; the phrases that are lost are named in one warning per prompt.

        Raises:
            PromptError: It is no :class:`Prompt`.
        """
        if not isinstance(prompt, Prompt):
            raise PromptError(
                f'The tokenizer was given {shorten(repr(prompt))} ({type(prompt).__name__}). Expected a '
                'Prompt: make one with parse_prompt, prompt_from_classes or prompt_from_caption.'
            )
        return self._cached_tokenize(prompt)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, without start and end token; short texts are remembered.

        Raises:
            PromptError: It is no text, or not valid Unicode.
        """
        if not isinstance(text, str):
            raise PromptError(
                f'Tokens of {shorten(repr(text))} ({type(text).__name__}) cannot be counted. Expected a text.'
            )
        return self._cached_count(text) if len(text) <= _MAX_COUNTED_LENGTH else self._count(text)

    def collate(self, tokenized: Sequence[TokenizedPrompt]) -> TokenBatch:
        """Pad B prompts to the longest of them, nothing more."""
        if not tokenized:
            raise ValueError('No prompts to collate. Expected one tokenized prompt per image.')
        lengths = tuple(len(item.input_ids) for item in tokenized)
        input_ids = torch.full((len(tokenized), max(lengths)), self.pad_id, dtype=torch.long)
        for row, item in zip(input_ids, tokenized, strict=True):
            row[: len(item.input_ids)] = torch.tensor(item.input_ids)
        mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        return TokenBatch(input_ids, mask, lengths)

    @cached_property
    def unwritten_ids(self) -> tuple[int, ...]:
        """Tokens that no caption is written with: special ones but the end token, and BERT's ``[unusedN]``."""
        unused = (i for token, i in self.tokenizer.get_vocab().items() if _UNUSED.fullmatch(token))
        return tuple(sorted({*self.special_ids, *unused} - {self.end_id}))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text that tokens stand for, word pieces joined and punctuation where it belongs: "a t-shirt, red."

        Tokenizing it gives the same tokens again, if they came from a text. Special tokens are left out.
        """
        return close_up(
            self.tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def _count(self, text: str) -> int:
        try:
            return len(self.tokenizer(text, add_special_tokens=False, verbose=False)['input_ids'])
        except TypeError as error:  # what the library says of half a character
            raise PromptError(
                f'Text {shorten(ascii(text))} has half a character (a lone surrogate). Expected valid '
                'Unicode: read the file as UTF-8, or remove it.'
            ) from error

    def _tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        encoded = self.tokenizer(
            prompt.text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
        )
        ids, special = encoded['input_ids'], encoded['special_tokens_mask']
        # (start character, end character, position) of every token that stands for text
        words = [
            (*offsets, position)
            for position, offsets in enumerate(encoded['offset_mapping'])
            if not special[position] and offsets[0] < offsets[1]
        ]
        num_tokens = len(ids)
        if num_tokens > self.max_tokens:  # cut words, never the end token
            num_last = next((i for i, flag in enumerate(reversed(special)) if not flag), 0)
            first_cut = self.max_tokens - num_last
            ids = ids[:first_cut] + ids[num_tokens - num_last :]
            words = [word for word in words if word[2] < first_cut]
        tokenized = TokenizedPrompt(
            prompt, tuple(ids), _phrase_tokens(prompt, words), is_cut=num_tokens > self.max_tokens
        )
        if tokenized.is_cut:
            self._warn_truncated(tokenized, num_tokens)
        self._warn_unknown(tokenized)
        return tokenized

    def _warn_truncated(self, tokenized: TokenizedPrompt, num_tokens: int) -> None:
        if not self._is_new(tokenized.prompt):
            return
        lost = [
            f"'{shorten(phrase.name)}' (characters {phrase.spans[0][0]}-{phrase.spans[0][1]})"
            for phrase, tokens in _phrases_with_tokens(tokenized)
            if not tokens
        ]
        what = f'Phrases behind them cannot be found: {_name_list(lost)}.' if lost else 'No phrase is lost.'
        print_log(
            f"Prompt '{shorten(tokenized.prompt.text)}' has {num_tokens} tokens, this text encoder reads the "
            f'first {self.max_tokens}. {what} Shorten the caption, or pass class names as a list: lists are '
            'split into chunks.',
            logger='current',
            level=logging.WARNING,
        )

    def _warn_unknown(self, tokenized: TokenizedPrompt) -> None:
        unknown_id = self.tokenizer.unk_token_id  # byte-level tokenizers never emit theirs for a word
        unknown = [
            f"'{shorten(phrase.name)}'"
            for phrase, tokens in _phrases_with_tokens(tokenized)
            if tokens
            and all(tokenized.input_ids[token] == unknown_id for token in tokens)
            and self._is_new(phrase.name)
        ]
        if unknown:
            print_log(
                f'No word of {_name_list(unknown)} is in the vocabulary {self.vocab!r}: such phrases all '
                'look the same to the model. Use other words, in the language of the model.',
                logger='current',
                level=logging.WARNING,
            )

    def _is_new(self, key: Prompt | str) -> bool:
        """Whether nothing was said about it yet. Not the token cache: an epoch of captions overflows that."""
        if hash(key) in self._warned:
            return False
        if len(self._warned) >= _MAX_WARNED:
            self._warned.clear()
        self._warned.add(hash(key))
        return True

    def _make_caches(self) -> None:
        self._warned: set[int] = set()
        self._cached_tokenize = lru_cache(maxsize=_MAX_PROMPTS)(self._tokenize)
        self._cached_count = lru_cache(maxsize=_MAX_COUNTS)(self._count)

    def __getstate__(self) -> dict[str, Any]:
        # Copies and data-loader workers start with empty caches: an lru_cache cannot be pickled.
        return {
            key: value
            for key, value in self.__dict__.items()
            if key not in ('_cached_tokenize', '_cached_count', '_warned')
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_caches()

    def __repr__(self) -> str:
        return f'PromptTokenizer(vocab={self.vocab!r}, max_tokens={self.max_tokens}, vocab_size={self.vocab_size})'


def _phrases_with_tokens(tokenized: TokenizedPrompt) -> Iterator[tuple[Phrase, tuple[int, ...]]]:
    return zip(tokenized.prompt.phrases, tokenized.phrase_tokens, strict=True)


def _phrase_tokens(prompt: Prompt, words: list[tuple[int, int, int]]) -> tuple[tuple[int, ...], ...]:
    """Positions per phrase; ``words`` are (start, end, position) with start and end never falling."""
    starts, ends = [word[0] for word in words], [word[1] for word in words]
    result = []
    for phrase in prompt.phrases:
        positions: set[int] = set()
        for start, end in phrase.spans:
            # overlap = begins before the span's end, and ends after the span's start
            first, last = bisect_right(ends, start), bisect_left(starts, end)
            positions.update(word[2] for word in words[first:last])
        result.append(tuple(sorted(positions)))
    return tuple(result)


def _name_list(names: Sequence[str], limit: int = 8) -> str:
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more


def _load_tokenizer(vocab: str | Path, lowercase: bool) -> PreTrainedTokenizerFast:
    path = SHIPPED_VOCABS.get(str(vocab), Path(vocab).expanduser())
    if path.is_dir():
        if clip_vocabulary.is_clip_folder(path):
            return clip_vocabulary.tokenizer_from_folder(path)
        return _tokenizer_from_folder(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"Vocabulary '{vocab}' is not a file or folder here, nor one of the names "
            f'{list(SHIPPED_VOCABS)}. Nothing is downloaded: give the path of a vocab.txt, or of a folder '
            'with the saved tokenizer. For CLIP, put its vocab.json and merges.txt into that folder, or give '
            'its bpe_simple_vocab_16e6.txt.gz.'
        )
    if path.suffix == '.gz':
        return clip_vocabulary.tokenizer_from_merges(path)
    return _tokenizer_from_vocab(path, lowercase)


def _mask_id(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """Id of the mask token. CLIP has none and hides words behind an emoji, as the public GLIP code does."""
    if tokenizer.mask_token_id is None and tokenizer.eos_token == clip_vocabulary.END:
        return tokenizer.get_vocab().get(clip_vocabulary.MASK)
    return tokenizer.mask_token_id


def _start_and_end(tokenizer: PreTrainedTokenizerFast) -> tuple[int | None, int | None]:
    """Ids of the tokens around a text: ``[CLS]`` and ``[SEP]``, or those of CLIP."""
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    return (tokenizer.bos_token_id if start is None else start), (tokenizer.eos_token_id if end is None else end)


def _answer_token(tokenizer: PreTrainedTokenizerFast, mask_id: int | None) -> str:
    """How a prompt writes "the unknown answer": as the mask token, or in plain words where there is none."""
    return 'answer' if mask_id is None else tokenizer.decode([mask_id]).strip()


def _tokenizer_from_vocab(path: Path, lowercase: bool) -> PreTrainedTokenizerFast:
    # Imported here: transformers takes seconds, and a prompt needs no tokenizer.
    from transformers import BertTokenizerFast

    try:
        entries = path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Vocabulary file '{path}' is not UTF-8 text. Expected a WordPiece vocab.txt with "
            'one token per line; give another kind of tokenizer as its folder.'
        ) from error
    missing = [token for token in _BERT_SPECIAL_TOKENS if token not in entries]
    if missing:
        raise ValueError(
            f"Vocabulary file '{path}' has no {', '.join(missing)}. Expected a WordPiece "
            'vocab.txt with one token per line; give another kind of tokenizer as its folder.'
        )
    # transformers 5 renamed the argument and swallows the old one, ending with the special tokens only.
    parameters = inspect.signature(BertTokenizerFast.__init__).parameters
    argument = 'vocab' if 'vocab' in parameters else 'vocab_file'
    tokenizer = BertTokenizerFast(**{argument: str(path)}, do_lower_case=lowercase)
    _check_size(tokenizer, entries, path)
    return tokenizer


def _tokenizer_from_folder(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, use_fast=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"Folder '{folder}' has no tokenizer that transformers can read ({error}). Expected "
            'tokenizer.json or vocab.txt with tokenizer_config.json.'
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(
            f"The tokenizer in '{folder}' ({type(tokenizer).__name__}) reports no character "
            'offsets. Expected a fast one: save it with tokenizer.json.'
        )
    vocab_file = folder / 'vocab.txt'
    if vocab_file.is_file():
        _check_size(tokenizer, vocab_file.read_text(encoding='utf-8').splitlines(), vocab_file)
    return tokenizer


def _check_size(tokenizer: PreTrainedTokenizerFast, entries: list[str], path: Path) -> None:
    if len(tokenizer) < len(set(entries)):
        raise ValueError(
            f"transformers read {len(tokenizer)} of the {len(set(entries))} tokens in '{path}'. "
            'Expected all: the installed version reads this file in another way. Save the '
            'tokenizer as a folder with tokenizer.json and give that folder.'
        )
