"""CLIP's byte-pair vocabulary: both published layouts, positions of phrases, the borrowed mask token."""

import gzip
import json

import pytest
import torch

from glipv2_mmdet.text import (
    PromptTokenizer,
    mask_tokens,
    maskable_tokens,
    prompt_from_caption,
    prompt_from_classes,
    sample_prompt_classes,
)
from tests.tiny_clip import MASK_ID, VOCAB_SIZE, write_folder, write_merges


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp('clip') / 'vocabulary')


@pytest.fixture(scope='module')
def tokenizer(folder):
    return PromptTokenizer(folder)


def test_a_prompt_is_written_out_with_start_and_end(tokenizer):
    # words of the vocabulary are one token each; a full stop is a byte that ends a word
    tokens = tokenizer(prompt_from_classes(['cat', 'Red car']))
    names = tokenizer.tokenizer.convert_ids_to_tokens(list(tokens.input_ids))
    assert names == ['<|startoftext|>', 'cat</w>', '.</w>', 'red</w>', 'car</w>', '<|endoftext|>']
    assert tokens.phrase_tokens == ((1,), (3, 4))
    assert tokenizer.vocab_size == VOCAB_SIZE
    assert tokenizer.pad_id == tokens.input_ids[-1]


def test_phrases_own_all_their_bytes_and_nothing_else(tokenizer):
    caption = 'two  dögs, a cat 💑!'
    prompt = prompt_from_caption(caption, tokens_positive=[[[5, 9]], [[13, 16]], [[17, 18]]])
    tokens = tokenizer(prompt)
    names = tokenizer.tokenizer.convert_ids_to_tokens(list(tokens.input_ids))
    dogs, cat, emoji = ([names[i] for i in positions] for positions in tokens.phrase_tokens)
    # ö is two bytes, both of them the same character
    assert dogs == ['d', 'Ã', '¶', 'g', 's</w>'] and cat == ['cat</w>'] and len(emoji) > 0
    assert not set(tokens.phrase_tokens[1]) & set(tokens.phrase_tokens[2])


def test_openais_file_makes_the_same_tokenizer(tokenizer, tmp_path):
    other = PromptTokenizer(write_merges(tmp_path / 'bpe_simple_vocab_16e6.txt.gz'))
    assert other.tokenizer.get_vocab() == tokenizer.tokenizer.get_vocab()
    prompt = prompt_from_classes(['Cat', 'a dog, running', 'naïve'])
    assert other(prompt).input_ids == tokenizer(prompt).input_ids
    assert other.mask_id == tokenizer.mask_id == MASK_ID


def test_a_saved_tokenizer_keeps_the_mask_token(tokenizer, tmp_path):
    tokenizer.tokenizer.save_pretrained(tmp_path / 'saved')
    saved = PromptTokenizer(tmp_path / 'saved')
    prompt = prompt_from_classes(['red car', 'dog'])
    assert saved(prompt).input_ids == tokenizer(prompt).input_ids and saved.mask_id == MASK_ID


def test_extra_merges_of_openais_file_are_left_out(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr('glipv2_mmdet.text.clip_vocabulary._NUM_MERGES', 3)
    short = PromptTokenizer(write_merges(tmp_path / 'bpe_simple_vocab_16e6.txt.gz'))
    assert short.vocab_size == 2 * 256 + 3 + 2
    assert short.mask_id is None


def test_masking_uses_the_borrowed_token_and_spares_start_and_end(tokenizer):
    tokenized = [tokenizer(prompt_from_classes(['cat', 'dog']))]
    allowed = maskable_tokens(tokenized, [[0, 1]], tokenizer)
    assert allowed.tolist() == [[False, True, False, True, False]]
    hidden = mask_tokens(
        tokenizer.collate(tokenized),
        allowed,
        tokenizer,
        torch.Generator().manual_seed(0),
        probability=1.0,
        mask_share=1.0,
        random_share=0.0,
    )
    ids = hidden.tokens.input_ids[0].tolist()
    assert ids[1] == ids[3] == MASK_ID and ids[0] == tokenized[0].input_ids[0]
    assert hidden.targets.tolist() == [tokenized[0].input_ids[1], tokenized[0].input_ids[3]]


def test_negatives_fill_the_budget_of_this_tokenizer(folder):
    import numpy as np

    short = PromptTokenizer(folder, max_tokens=8)
    chosen = sample_prompt_classes(
        ['cat', 'dog', 'car', 'red'], [2], short, np.random.default_rng(0), full_probability=1.0
    )
    prompt = prompt_from_classes([['cat', 'dog', 'car', 'red'][i] for i in chosen])
    assert 2 in chosen and len(short(prompt).input_ids) <= 8 and not short(prompt).lost


def test_a_missing_vocabulary_says_what_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'.*clip' is not a file .* put its vocab.json and merges.txt"):
        PromptTokenizer(tmp_path / 'clip')


@pytest.mark.parametrize('content', [b'no gzip', gzip.compress(b'\xff\xfe')], ids=['no gzip', 'no text'])
def test_a_broken_merge_file_is_named(content, tmp_path):
    (tmp_path / 'merges.gz').write_bytes(content)
    with pytest.raises(ValueError, match=r"merges.gz' is not a gzip file of merges"):
        PromptTokenizer(tmp_path / 'merges.gz')


def test_another_kind_of_byte_pairs_is_refused(folder, tmp_path):
    (tmp_path / 'vocab.json').write_text(json.dumps({'a': 0}))
    (tmp_path / 'merges.txt').write_text('#version: 0.2\n')
    with pytest.raises(ValueError, match=r'has no <\|startoftext\|>, <\|endoftext\|>'):
        PromptTokenizer(tmp_path)
    (tmp_path / 'vocab.json').write_text('{"a": 0')
    with pytest.raises(ValueError, match=r'unreadable vocab.json'):
        PromptTokenizer(tmp_path)
