"""Questions as prompts: plain, and with a token that stands for the answer."""

import pytest

from glipv2_mmdet.text import PromptError, PromptTokenizer, question_prompt
from tests.tiny_clip import MASK_ID, write_folder

QUESTION = 'what color is the star?'


def test_a_plain_question_is_one_phrase_and_stays_as_it_was_asked():
    prompt = question_prompt(QUESTION)
    assert (prompt.text, prompt.names, prompt.is_detection) == (QUESTION, (QUESTION,), False)


def test_noun_phrases_and_the_answer_are_phrases_of_a_grounded_question():
    prompt = question_prompt(QUESTION, '[MASK]')
    assert prompt.text == 'what color is the star? [MASK]'
    assert prompt.names[-1] == 'answer' and any('star' in name for name in prompt.names[:-1])
    assert prompt.phrases[-1].spans == ((24, 30),)


@pytest.mark.parametrize('span', [[24, 27], [18, 27], [23, 24], [25, 26]])
def test_a_span_that_reaches_the_answer_becomes_the_answer_tokens(span):
    prompt = question_prompt(QUESTION, '[MASK]', [[[18, 22]], [span]])
    assert [phrase.spans for phrase in prompt.phrases] == [((18, 22),), ((24, 30),)]
    assert prompt.names == ('star', 'answer')


def test_a_phrase_may_own_words_of_the_question_and_the_answer():
    prompt = question_prompt(QUESTION, '[MASK]', [[[18, 22], [24, 27]]])
    assert [phrase.spans for phrase in prompt.phrases] == [((18, 22), (24, 30))]


def test_without_a_span_at_the_answer_its_phrase_comes_last():
    assert question_prompt(QUESTION, '[MASK]', [[[18, 22]]]).names == ('star', 'answer')


@pytest.mark.parametrize('question', ['', ' ?! ', None, 7])
def test_a_question_without_words_is_refused_even_with_an_answer_token(question):
    with pytest.raises(PromptError, match='has no letter or digit'):
        question_prompt(question, '[MASK]')


def test_the_answer_token_is_the_mask_token_of_the_encoder(tmp_path):
    bert, clip = PromptTokenizer(), PromptTokenizer(write_folder(tmp_path / 'clip'))
    assert bert.answer_token == '[MASK]'
    for tokenizer, mask_id in ((bert, bert.mask_id), (clip, MASK_ID)):
        tokenized = tokenizer(question_prompt('red cat?', tokenizer.answer_token))
        (position,) = tokenized.phrase_tokens[-1]
        assert tokenized.input_ids[position] == mask_id


def test_unknown_characters_and_long_questions_still_make_a_prompt(caplog):
    tokenizer = PromptTokenizer(max_tokens=8)
    assert tokenizer(question_prompt('ist die 🦄 䨻?')).input_ids
    long = question_prompt('is the very small red circle left of the star?', tokenizer.answer_token)
    tokenized = tokenizer(long)
    assert len(tokenized.input_ids) == 8 and 'answer' in tokenized.lost


@pytest.mark.parametrize('spans', [5, [5], [[5]], [[[0]]], [[['a', 'b']]], [[[0.0, 5.0]]]])
def test_spans_that_are_none_are_named(spans):
    with pytest.raises(PromptError, match=r'tokens_positive is .*Expected a list of'):
        question_prompt('is the cat wet?', 'answer', spans)
