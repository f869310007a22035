from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glipv2_mmdet.text import (
    Phrase,
    Prompt,
    PromptError,
    PromptTokenizer,
    parse_prompt,
    prompt_from_caption,
    prompt_from_classes,
)
from tests.test_text.wild_text import wild_text

SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']


def write_vocab(folder, entries):
    path = folder / 'vocab.txt'
    path.write_text('\n'.join(entries) + '\n', encoding='utf-8')
    return path


# --- the vocabulary ---------------------------------------------------------------------------------------


def test_the_shipped_vocabulary_is_complete(tokenizer):
    assert (tokenizer.vocab_size, tokenizer.max_tokens) == (30522, 256)
    assert (tokenizer.pad_id, tokenizer.mask_id) == (0, 103)


def test_a_vocabulary_file_of_ones_own_is_read(tmp_path):
    tokenizer = PromptTokenizer(write_vocab(tmp_path, [*SPECIAL, 'cat', 'dog', '.']))
    assert tokenizer.vocab_size == 8
    assert tokenizer(prompt_from_classes(['dog', 'Cat'])).input_ids == (2, 6, 7, 5, 3)


def test_case_counts_when_the_vocabulary_has_case(tmp_path):
    path = write_vocab(tmp_path, [*SPECIAL, 'cat', 'Cat'])
    assert PromptTokenizer(path, lowercase=False)(prompt_from_classes(['Cat'])).input_ids == (2, 6, 3)


def test_a_saved_tokenizer_folder_is_read(tmp_path, tokenizer):
    tokenizer.tokenizer.save_pretrained(tmp_path)
    prompt = prompt_from_classes(['traffic light', 'dog'])
    assert PromptTokenizer(tmp_path)(prompt) == tokenizer(prompt)


def test_a_folder_with_a_bare_vocabulary_is_read_completely(tmp_path):
    write_vocab(tmp_path, [*SPECIAL, 'cat'])
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps({'tokenizer_class': 'BertTokenizer'}))
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'bert'}))
    assert PromptTokenizer(tmp_path)(prompt_from_classes(['cat'])).input_ids == (2, 5, 3)


def test_a_missing_vocabulary_names_what_is_possible():
    with pytest.raises(
        FileNotFoundError,
        match=r"'bert-huge' is not a file or folder here, nor one of the "
        r"names \['bert-base-uncased'\]\. Nothing is downloaded",
    ):
        PromptTokenizer('bert-huge')


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'has no \[PAD\], \[CLS\].* Expected a WordPiece vocab.txt'):
        PromptTokenizer(write_vocab(tmp_path, ['[UNK]', 'cat']))
    (tmp_path / 'weights.bin').write_bytes(b'\xff\xfe\x00\x81')
    with pytest.raises(ValueError, match='is not UTF-8 text'):
        PromptTokenizer(tmp_path / 'weights.bin')


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'has no tokenizer that transformers can read'):
        PromptTokenizer(tmp_path)


def test_a_limit_without_room_for_a_word_is_refused():
    with pytest.raises(ValueError, match=r'max_tokens is 2\. Expected at least 3'):
        PromptTokenizer(max_tokens=2)


# --- tokens of phrases ------------------------------------------------------------------------------------


def test_phrases_own_the_tokens_under_their_spans(tokenizer):
    result = tokenizer(prompt_from_classes(['person', 'traffic_light', 'potted plant', 'St. Bernard']))
    assert result.phrase_tokens == ((1,), (3, 4), (6, 7, 8), (10, 11, 12))
    assert result.input_ids[0] == 101
    assert result.input_ids[-1] == 102
    assert result.lost == ()


def test_a_span_that_cuts_a_word_owns_the_whole_token(tokenizer):
    prompt = Prompt('a man rides', (Phrase('an ri', ((3, 8),)),), False)
    assert tokenizer(prompt).phrase_tokens == ((2, 3),)


def test_several_spans_are_united_and_blanks_at_the_edge_cost_nothing(tokenizer):
    prompt = prompt_from_caption('a man on a bike', [[[8, 15], [0, 6]], [[1, 6]]])
    assert tokenizer(prompt).phrase_tokens == ((1, 2, 4, 5), (2,))


def test_accents_and_wide_characters_keep_their_positions(tokenizer):
    prompt = prompt_from_classes(['café', 'naïve dog', 'cat'])
    assert [len(tokens) for tokens in tokenizer(prompt).phrase_tokens] == [1, 2, 1]
    prompt = parse_prompt('a 🐶 dog and a cat')
    result, cat = tokenizer(prompt), tokenizer(prompt_from_classes(['cat']))
    assert result.input_ids[result.phrase_tokens[-1][-1]] == cat.input_ids[1]


def test_the_mask_word_is_one_token_that_a_phrase_can_own(tokenizer):
    text = 'what is it? [MASK]'
    result = tokenizer(prompt_from_caption(text, [[[12, 18]]]))
    assert result.input_ids[result.phrase_tokens[0][0]] == tokenizer.mask_id
    assert len(result.phrase_tokens[0]) == 1


def test_a_phrase_without_any_token_is_lost_not_guessed(tokenizer):
    prompt = Prompt('a\u200b dog', (Phrase('nothing', ((1, 2),)), Phrase('dog', ((3, 6),))), False)
    assert tokenizer(prompt).lost == ('nothing',)


@settings(max_examples=80, deadline=None)
@given(st.lists(wild_text(min_size=1, max_size=15), min_size=1, max_size=6))
def test_a_class_has_the_same_tokens_in_a_list_as_alone(tokenizer, names):
    try:
        prompt = prompt_from_classes(names)
    except PromptError:
        return
    result = tokenizer(prompt)
    for name, tokens in zip(names, result.phrase_tokens, strict=True):
        alone = tokenizer(prompt_from_classes([name])).input_ids[1:-1]
        assert tuple(result.input_ids[token] for token in tokens) == alone, name


@settings(max_examples=60, deadline=None)
@given(wild_text(min_size=1, max_size=40), st.data())
def test_the_overlap_rule_equals_its_definition(tokenizer, text, data):
    text = text.replace('\ud83d', '') + ' x'
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    encoded = tokenizer.tokenizer(text, return_offsets_mapping=True)
    expected = tuple(
        position
        for position, (first, last) in enumerate(encoded['offset_mapping'])
        if first < end and last > start and first < last
    )
    assert tokenizer(Prompt(text, (Phrase('p', ((start, end),)),), False)).phrase_tokens == (expected,)


# --- limits and warnings ----------------------------------------------------------------------------------


def test_a_long_caption_is_cut_and_the_lost_phrases_are_named_once(warnings_seen):
    tokenizer = PromptTokenizer(max_tokens=6)
    prompt = prompt_from_caption('a man, a dog and a cat', [[[0, 5]], [[7, 12]], [[17, 22]]])
    for _ in range(2):
        result = tokenizer(prompt)
    assert result.input_ids == (101, 1037, 2158, 1010, 1037, 102)
    assert result.phrase_tokens == ((1, 2), (4,), ())
    assert result.lost == ('a cat',)
    assert len(warnings_seen) == 1
    assert 'has 11 tokens, this text encoder reads the first 6. ' in warnings_seen[0]
    assert "cannot be found: 'a cat' (characters 17-22). Shorten the caption" in warnings_seen[0]


def test_the_warning_comes_once_even_when_the_prompt_left_the_cache(warnings_seen, short_tokenizer):
    prompt = prompt_from_caption('one two three four five six seven eight nine ten', -1)
    short_tokenizer(prompt)
    short_tokenizer._cached_tokenize.cache_clear()
    short_tokenizer(prompt)
    assert [message.count('No phrase is lost') for message in warnings_seen] == [1]


def test_a_hundred_kilobytes_are_cut_with_one_short_warning(warnings_seen, tokenizer):
    spans = [[[0, 4]], *[[[i * 5, i * 5 + 4]] for i in range(1000, 1100)]]
    prompt = prompt_from_caption('word ' * 20_000, spans)
    result = tokenizer(prompt)
    assert len(result.input_ids) == 256
    assert len(result.lost) == 100
    assert 'and 92 more' in warnings_seen[0]
    assert len(warnings_seen[0]) < 800


def test_a_phrase_of_unknown_words_is_named_once(warnings_seen):
    tokenizer = PromptTokenizer()
    for names in (['cat', '狗'], ['狗', 'dog'], ['cat', 'dog']):
        tokenizer(prompt_from_classes(names))
    assert len(warnings_seen) == 1
    assert warnings_seen[0].startswith("No word of '狗' is in the vocabulary 'bert-base-uncased'")


def test_a_string_instead_of_a_prompt_is_refused(tokenizer):
    with pytest.raises(PromptError, match=r"given 'cat' \(str\)\. Expected a Prompt: make one with"):
        tokenizer('cat')


# --- counting, batches, copies ----------------------------------------------------------------------------


def test_tokens_are_counted_without_start_and_end(tokenizer):
    texts = ('', 'cat', 'potted plant. ', 'cat ' * 1000)
    assert [tokenizer.count_tokens(text) for text in texts] == [0, 1, 4, 1000]


def test_caches_are_bounded_and_keep_no_long_text(tokenizer):
    before = tokenizer._cached_count.cache_info().currsize
    tokenizer.count_tokens('long ' * 100)
    assert tokenizer._cached_count.cache_info().currsize == before
    assert tokenizer._cached_count.cache_info().maxsize is not None
    assert tokenizer._cached_tokenize.cache_info().maxsize is not None


def test_a_batch_is_padded_to_its_longest_prompt(tokenizer):
    prompts = [prompt_from_classes(names) for names in (['cat'], ['cat', 'dog'])]
    batch = tokenizer.collate([tokenizer(prompt) for prompt in prompts])
    assert batch.input_ids.tolist() == [[101, 4937, 102, 0, 0], [101, 4937, 1012, 3899, 102]]
    assert batch.input_ids.dtype == torch.long
    assert batch.mask.tolist() == [[True, True, True, False, False], [True] * 5]
    assert batch.lengths == (3, 5)
    assert batch.has_padding
    assert not tokenizer.collate([tokenizer(prompt_from_classes(['cat']))] * 2).has_padding


def test_a_batch_moves_with_its_lengths(tokenizer):
    batch = tokenizer.collate([tokenizer(prompt_from_classes(['cat']))]).to('meta')
    assert (batch.input_ids.device.type, batch.mask.device.type, batch.lengths) == ('meta', 'meta', (3,))


def test_an_empty_batch_is_refused(tokenizer):
    with pytest.raises(ValueError, match='No prompts to collate'):
        tokenizer.collate([])


def count_in_worker(tokenizer: PromptTokenizer) -> tuple[int, int]:
    tokenized = tokenizer(prompt_from_classes(['potted plant']))
    return tokenizer.count_tokens('potted plant'), len(tokenized.input_ids)


def test_copies_work_alike_and_start_with_empty_caches(tokenizer):
    prompt = prompt_from_classes(['traffic light', 'dog'])
    expected = tokenizer(prompt)
    for twin in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert twin._cached_tokenize.cache_info().currsize == 0
        assert twin(prompt) == expected
        assert twin.count_tokens('potted plant') == 3
        assert twin.tokenizer is not tokenizer.tokenizer


def test_it_travels_into_a_worker_process(tokenizer):
    with ProcessPoolExecutor(1, mp_context=get_context('fork')) as pool:
        assert pool.submit(count_in_worker, tokenizer).result(timeout=60) == (3, 5)


# --- parity -----------------------------------------------------------------------------------------------


def parity_cases(folder):
    return sorted(path.parent for path in (folder / 'parity').glob('*/settings.json'))


@pytest.mark.parity
def test_ids_and_positions_equal_those_of_mmdet(shared_dir, tokenizer):
    cases = parity_cases(shared_dir)
    assert cases, f'no case under {shared_dir}'
    for case in cases:
        spec = json.loads((case / 'settings.json').read_text())
        captions = [(item['text'], item['tokens_positive']) for item in spec['captions']]
        for kind in ('det', 'caption'):
            text = json.loads((case / f'{kind}.json').read_text())['text']
            arrays = np.load(case / f'{kind}.npz')
            for index, entities in enumerate(text['entities']):
                prompt = prompt_from_classes(entities) if kind == 'det' else prompt_from_caption(*captions[index])
                check_parity(tokenizer, prompt, text, arrays, index)
                if kind == 'caption':  # the fed text given again is not changed a second time
                    assert prompt_from_caption(text['texts'][index], captions[index][1]) == prompt


def check_parity(tokenizer, prompt, text, arrays, index):
    result = tokenizer(prompt)
    assert prompt.text == text['texts'][index]
    assert list(prompt.names) == text['entities'][index]
    positions = text['token_positive_maps'][index]
    assert result.phrase_tokens == tuple(tuple(positions[str(k + 1)]) for k in range(len(positions)))
    assert len(result.input_ids) == arrays['num_valid_tokens'][index]
    padded = [*result.input_ids] + [tokenizer.pad_id] * (256 - len(result.input_ids))
    assert padded == arrays['input_ids'][index].tolist()


@pytest.mark.parity
def test_the_tokenizer_folder_beside_the_fixtures_is_the_shipped_vocabulary(shared_dir, tokenizer):
    other = PromptTokenizer(shared_dir / 'parity' / 'bert_2l')
    prompt = prompt_from_classes(['potted plant', 'St. Bernard', 'naïve café'])
    assert other(prompt) == tokenizer(prompt)


@pytest.mark.parametrize('text', [None, 5, b'cat', '\ud83d cat'])
def test_tokens_of_what_is_no_text_are_not_counted(text):
    with pytest.raises(PromptError, match='Expected'):
        PromptTokenizer().count_tokens(text)


def test_an_entry_that_is_there_twice_leaves_no_token_outside_the_vocabulary(tmp_path):
    entries = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'cat']
    file = tmp_path / 'vocab.txt'
    file.write_text('\n'.join(entries * 2))
    tokenizer = PromptTokenizer(file)
    tokens = tokenizer(prompt_from_caption('a cat', [[[0, 5]]])).input_ids
    assert max(tokens) < tokenizer.vocab_size == 14
