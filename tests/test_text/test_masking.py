"""Which tokens may be hidden, how often, and by what they are replaced."""

from __future__ import annotations

import pytest
import torch
from mmengine.logging import MessageHub

from glipv2_mmdet.text import (
    PromptTokenizer,
    StepGenerators,
    TokenBatch,
    mask_tokens,
    maskable_tokens,
    prompt_from_caption,
    prompt_from_classes,
)
from glipv2_mmdet.text import masking as masking_module

TOKENIZER = PromptTokenizer()
#: [CLS] red car . dog . traffic light [SEP]
CLASSES = TOKENIZER(prompt_from_classes(['red car', 'dog', 'traffic light']))
#: [CLS] a dog sits . [SEP]
CAPTION = TOKENIZER(prompt_from_caption('a dog sits', tokens_positive=[[[0, 5]]]))


def allowed_words(tokenized, present) -> list[str]:
    (row,) = maskable_tokens([tokenized], [present], TOKENIZER)
    ids = [token for token, allowed in zip(tokenized.input_ids, row, strict=True) if allowed]
    return TOKENIZER.tokenizer.convert_ids_to_tokens(ids)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ('present', 'words'), [([0], ['red', 'car']), ([2, 1, 2], ['dog', 'traffic', 'light']), ([], [])]
)
def test_detection_prompt_hides_only_words_of_present_categories(present, words):
    assert allowed_words(CLASSES, present) == words


@pytest.mark.parametrize(('present', 'words'), [([0], ['a', 'dog', 'sits', '.']), ([], [])])
def test_sentence_hides_any_word_unless_nothing_in_it_is_annotated(present, words):
    assert allowed_words(CAPTION, present) == words


def test_unknown_words_are_no_targets():
    sentence = TOKENIZER(prompt_from_caption('a \U0001f996 dog', tokens_positive=[[[4, 7]]]))
    assert allowed_words(sentence, [0]) == ['a', 'dog', '.']


def test_shorter_prompts_are_padded_and_padding_is_never_hidden():
    allowed = maskable_tokens([CAPTION, CLASSES], [[0], [1]], TOKENIZER)
    assert allowed.int().tolist() == [[0, 1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0, 0]]


def test_shares_are_15_percent_and_80_10_10():
    """100,000 tokens of one kind; five standard deviations of each share."""
    ids = torch.full((100, 1000), 2000)
    tokens = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), (1000,) * 100)
    masked = mask_tokens(tokens, tokens.mask, TOKENIZER, generator())
    num_chosen = len(masked.positions)
    assert num_chosen == pytest.approx(15000, abs=5 * 113)
    assert masked.targets.unique().tolist() == [2000]
    new = masked.tokens.input_ids.flatten()
    hidden, kept = (new == TOKENIZER.mask_id).sum().item(), (new[masked.positions] == 2000).sum().item()
    assert hidden / num_chosen == pytest.approx(0.8, abs=5 * 0.0033)
    assert kept / num_chosen == pytest.approx(0.1, abs=5 * 0.0025)
    substitutes = new[(new != TOKENIZER.mask_id) & (new != 2000)]
    # drawn from the whole vocabulary: few meet twice, and they spread over it
    assert len(substitutes.unique()) > 0.9 * len(substitutes)
    assert 0 <= substitutes.min() < 500 and 30000 < substitutes.max() < TOKENIZER.vocab_size
    untouched = torch.ones_like(new, dtype=torch.bool)
    untouched[masked.positions] = False
    assert new[untouched].unique().tolist() == [2000]


def test_only_allowed_tokens_change_and_targets_are_what_stood_there():
    tokens = TOKENIZER.collate([CLASSES, CAPTION])
    allowed = maskable_tokens([CLASSES, CAPTION], [[0, 2], [0]], TOKENIZER)
    masked = mask_tokens(tokens, allowed, TOKENIZER, generator(), probability=1.0, mask_share=1.0)
    assert masked.positions.tolist() == allowed.flatten().nonzero().flatten().tolist()
    assert (masked.tokens.input_ids == TOKENIZER.mask_id).tolist() == allowed.tolist()
    assert torch.equal(masked.targets, tokens.input_ids[allowed])
    assert masked.tokens.lengths == tokens.lengths and torch.equal(masked.tokens.mask, tokens.mask)


def test_equal_prompts_are_hidden_differently():
    long = TOKENIZER(prompt_from_caption(' '.join(['dog'] * 60), tokens_positive=-1))
    allowed = maskable_tokens([long, long], [[0], [0]], TOKENIZER)
    rows = mask_tokens(TOKENIZER.collate([long, long]), allowed, TOKENIZER, generator()).tokens.input_ids
    assert rows[0].tolist() != rows[1].tolist()


def test_nothing_allowed_is_nothing_hidden():
    tokens = TOKENIZER.collate([CLASSES])
    masked = mask_tokens(tokens, torch.zeros_like(tokens.mask), TOKENIZER, generator(), probability=1.0)
    assert len(masked.positions) == len(masked.targets) == 0
    assert torch.equal(masked.tokens.input_ids, tokens.input_ids)


def test_vocabulary_without_a_mask_token_is_named(monkeypatch):
    monkeypatch.setattr(TOKENIZER, 'mask_id', None)
    tokens = TOKENIZER.collate([CLASSES])
    with pytest.raises(ValueError, match=r"'bert-base-uncased' has no mask token.*leave out the MLM head"):
        mask_tokens(tokens, tokens.mask, TOKENIZER, generator())


@pytest.fixture
def numbers_of(monkeypatch):
    """What a run's generators give: its seed, rank and first step in, one row of numbers per step out."""

    def numbers(seed: int = 1, rank: int = 0, start: int = 0, steps: int = 4) -> list[list[float]]:
        torch.manual_seed(seed)
        monkeypatch.setattr(masking_module, 'get_rank', lambda: rank)
        monkeypatch.setattr(MessageHub.get_current_instance(), 'get_info', lambda key, default: start)
        generators = StepGenerators()
        return [torch.rand(3, generator=generators.next()).tolist() for _ in range(steps)]

    return numbers


def test_random_numbers_differ_between_steps_ranks_and_seeds(numbers_of):
    rows = [*numbers_of(), *numbers_of(rank=1), *numbers_of(seed=2), *numbers_of(seed=2, rank=1)]
    assert len({tuple(row) for row in rows}) == 16


def test_a_resumed_run_hides_what_an_uninterrupted_one_hides(numbers_of):
    assert numbers_of(start=2, steps=2) == numbers_of()[2:]


def test_a_step_of_another_rank_can_be_repeated(numbers_of):
    expected = numbers_of(rank=3, start=7, steps=1)
    numbers_of()  # another rank, another step
    assert [torch.rand(3, generator=StepGenerators(step=7, rank=3).next()).tolist()] == expected


def test_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tokens = TOKENIZER.collate([CLASSES])
    mask_tokens(tokens, tokens.mask, TOKENIZER, StepGenerators().next())
    assert torch.equal(torch.rand(3), expected)
