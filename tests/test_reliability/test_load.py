"""One model serves many threads, caches end where they should, and the page serves many visitors: a short sample.

The whole of it: benchmarks/reliability/load.py.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from benchmarks.reliability.load import (
    FINITE_CACHES,
    Request,
    answer_all,
    caches,
    failures,
    load_demo,
    make_model,
    same,
)
from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.models import TunedPrompt, tuned_prompt
from glipv2_mmdet.models.language_models.prompt_cache import PromptCache
from tests.test_models.nano import text_features

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='memory is read from /proc')


@pytest.fixture(scope='module')
def model() -> GLIPv2Inferencer:
    return make_model()


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as Python lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
def test_eight_threads_get_the_answers_of_one(model, restless):
    requests = [Request.make(number, seed=1) for number in range(60)]
    alone, together = (list(answer_all(model, requests, threads)) for threads in (1, 8))
    assert [number for number, pair in enumerate(zip(alone, together, strict=True)) if not same(*pair)] == []
    assert sum(len(boxes) for boxes, _, _ in alone) > 300
    texts = {request.text for request in requests}
    assert len(texts) > 40
    for cache in caches(model):
        assert cache.bound is not None and cache.size <= cache.bound, cache


def test_a_wrong_answer_and_an_error_would_be_seen(model):
    request = Request.make(0, seed=1)
    first, other = request.answer(model), Request.make(3, seed=1).answer(model)
    assert same(first, request.answer(model)) and not same(first, other)
    (error,) = answer_all(model, [Request('detect', '', request.image)], 1)
    assert isinstance(error, ValueError) and not same(error, error)
    assert failures(dict(load_errors=1, demo_right=0)) == ['load_errors', 'demo_right']


def test_every_cache_of_the_package_is_known(model):
    names = {cache.name.rpartition('.')[2] for cache in caches(model)}
    assert {
        'PromptCache',
        'TunedPrompt files',
        '_tokenize',
        '_count',
        '_split',
        '_shift_mask',
        'label_font',
        'category_id',
    } <= names
    assert FINITE_CACHES.keys() <= names


class Encoder(nn.Module):
    """Whose weights may change."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


class Slow(OrderedDict):
    """Lets other threads run between any two steps."""

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        time.sleep(1e-4)
        return found

    def move_to_end(self, key: object, last: bool = True) -> None:
        time.sleep(1e-4)
        super().move_to_end(key, last)


def test_the_prompt_cache_holds_under_threads():
    """Without its lock a prompt is dropped by one thread between two steps of another: a KeyError."""
    cache, encoder, errors = PromptCache(max_prompts=3), Encoder().eval(), []
    cache._encoded = Slow()
    start = threading.Barrier(8)
    rows = {f'{number}': text_features([number % 5 + 2], seed=number) for number in range(9)}

    def work(first: int) -> None:
        start.wait()
        try:
            for turn in range(40):
                text = f'{(first + turn) % 9}'
                with torch.no_grad():
                    found = cache.encode(encoder, [text], lambda texts: rows[texts[0]])
                assert found.lengths == rows[text].lengths and torch.equal(found.hidden, rows[text].hidden)
        except (AssertionError, KeyError, RuntimeError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(cache) == 3


def test_a_prompt_of_earlier_weights_is_not_kept():
    """Another thread sees new weights while this one encodes: what this one encoded is out of date."""
    cache, encoder = PromptCache(), Encoder().eval()
    row = text_features([3])

    def meanwhile(texts):
        with torch.no_grad():
            encoder.weight.add_(1)
            cache.encode(encoder, ['other'], lambda _: row)
        return row

    with torch.no_grad():
        cache.encode(encoder, ['a'], meanwhile)
    assert len(cache) == 1 and 'a' not in cache._encoded


def test_files_of_prompts_are_forgotten_under_threads(tmp_path, monkeypatch, restless):
    monkeypatch.setattr(tuned_prompt, '_LOADED', {})
    monkeypatch.setattr(tuned_prompt, '_MAX_LOADED', 2)
    files = [tmp_path / f'{number}.safetensors' for number in range(6)]
    for number, file in enumerate(files):
        TunedPrompt((torch.full((1, 2), float(number)),), ((5,),), ('cat',), {}, -1, 'f', 'base').save(file)
    errors = []

    def work(first: int) -> None:
        try:
            for turn in range(30):
                number = (first + turn) % 6
                assert TunedPrompt.load(files[number]).residuals[0][0, 0] == number
        except (AssertionError, KeyError, RuntimeError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(tuned_prompt._LOADED) == 2


@pytest.mark.slow
def test_visitors_get_right_answers_or_are_told_to_wait(model):
    pytest.importorskip('gradio', reason="needs the extra 'demo': pip install 'glipv2_mmdet[demo]'")
    figures = load_demo(model, users=5, each=1, seed=0)
    assert figures['demo_requests'] == 15 and figures['demo_errors'] == 0, figures['demo_first_error']
    assert figures['demo_right'] >= 3 and figures['demo_right'] + figures['demo_busy'] == 15
    assert figures['demo_files_left'] == 0
