"""Prompts that stay encoded: the same result, only where that is safe, never more than the bound."""

from __future__ import annotations

import copy

import pytest
import torch

from glipv2_mmdet.models.language_models import BertTextEncoder
from glipv2_mmdet.models.language_models.prompt_cache import PromptCache
from glipv2_mmdet.text import parse_prompt

CONFIG = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
CAT, CARS, BIRD = (parse_prompt(names) for names in (['cat'], ['red car', 'dog'], ['bird', 'tree', 'sky']))


@pytest.fixture
def encoder() -> BertTextEncoder:
    torch.manual_seed(0)
    encoder = BertTextEncoder(config=CONFIG).eval()
    encoder.rows = []
    encoder.model.register_forward_pre_hook(
        lambda module, args, kwargs: encoder.rows.append(len(kwargs['input_ids'])), with_kwargs=True
    )
    return encoder


@torch.no_grad()
def test_a_prompt_is_encoded_once_and_stays_the_same(encoder):
    first = encoder.encode([CAT])
    again = encoder.encode([CAT])
    assert encoder.rows == [1]
    assert torch.equal(first.hidden, again.hidden) and torch.equal(first.embedded, again.embedded)
    assert again.lengths == (3,) and again.mask.all() and not again.has_padding


@torch.no_grad()
def test_only_new_prompts_of_a_batch_are_encoded(encoder):
    encoder.encode([CAT])
    both = encoder.encode([CARS, CAT, CARS])
    assert encoder.rows == [1, 1]
    encoder.cache.clear()
    fresh = encoder.encode([CARS, CAT, CARS])
    assert encoder.rows == [1, 1, 2]
    assert both.lengths == fresh.lengths == (6, 3, 6)
    assert torch.equal(both.mask, fresh.mask)
    torch.testing.assert_close(both.embedded, fresh.embedded, rtol=0, atol=1e-5)
    for kept, new, length in zip(both.hidden, fresh.hidden, both.lengths, strict=True):
        torch.testing.assert_close(kept[:length], new[:length], rtol=0, atol=1e-5)


def test_gradients_and_dropout_are_never_cut_off(encoder):
    assert encoder.encode([CAT]).hidden.requires_grad and encoder.encode([CAT]).hidden.requires_grad
    encoder.train()
    with torch.no_grad():
        assert not torch.equal(encoder.encode([CAT]).hidden, encoder.encode([CAT]).hidden)
    assert len(encoder.cache) == 0


def test_a_training_step_empties_it(encoder):
    with torch.no_grad():
        before = encoder.encode([CAT]).hidden
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    encoder.encode([CAT]).hidden.square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        after = encoder.encode([CAT]).hidden
        assert not torch.equal(before, after)
        encoder.cache.clear()
        assert torch.equal(encoder.encode([CAT]).hidden, after)


@torch.no_grad()
def test_loaded_weights_empty_it(encoder):
    other = BertTextEncoder(config=CONFIG).eval()
    encoder.encode([CAT])
    encoder.load_state_dict(other.state_dict())
    assert torch.equal(encoder.encode([CAT]).hidden, other.encode([CAT]).hidden)


@torch.no_grad()
def test_weights_swapped_by_data_are_noticed_at_the_change_of_mode(encoder):
    before = encoder.encode([CAT]).hidden
    encoder.train()
    for parameter in encoder.parameters():
        parameter.data.copy_(parameter.data * 1.5)  # as averaged weights are
    encoder.eval()
    assert not torch.equal(encoder.encode([CAT]).hidden, before)


@torch.no_grad()
def test_other_precision_is_encoded_anew(encoder):
    single = encoder.encode([CAT]).hidden
    with torch.autocast('cpu', torch.bfloat16):
        low = encoder.encode([CAT]).hidden
    assert not torch.equal(single, low.float())
    assert torch.equal(encoder.encode([CAT]).hidden, single)


def test_weights_made_in_inference_mode_are_not_trusted():
    with torch.inference_mode():
        encoder = BertTextEncoder(config=CONFIG).eval()
        before = encoder.encode([CAT]).hidden
        for parameter in encoder.parameters():
            parameter.mul_(1.5)
        assert not torch.equal(encoder.encode([CAT]).hidden, before)


@torch.no_grad()
def test_the_oldest_prompts_go_first(encoder):
    encoder.cache.max_prompts = 2
    for prompts in ([CAT], [CARS], [CAT], [BIRD]):
        encoder.encode(prompts)
    assert len(encoder.cache) == 2
    encoder.encode([CAT, BIRD])
    assert encoder.rows == [1, 1, 1]
    encoder.encode([CARS])
    assert encoder.rows == [1, 1, 1, 1]
    assert encoder.encode([CAT, CARS, BIRD]).lengths == (3, 6, 7)  # more than fit
    assert len(encoder.cache) == 2


@torch.no_grad()
def test_captions_are_not_kept(encoder):
    encoder.encode([CAT], causal=True)
    assert len(encoder.cache) == 0


@torch.no_grad()
def test_a_copy_has_a_cache_of_its_own(encoder):
    encoder.encode([CAT])
    twin = copy.deepcopy(encoder)
    twin.encode([CARS])
    assert (len(encoder.cache), len(twin.cache)) == (1, 1)
    assert not list(encoder.cache.state_dict()) and isinstance(twin.cache, PromptCache)
