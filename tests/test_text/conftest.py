from __future__ import annotations

from pathlib import Path

import pytest

from glipv2_mmdet.text import PromptTokenizer


@pytest.fixture(scope='session')
def tokenizer() -> PromptTokenizer:
    """The shipped vocabulary, 256 tokens."""
    return PromptTokenizer()


@pytest.fixture(scope='session')
def short_tokenizer() -> PromptTokenizer:
    """Ten tokens with start and end, so that limits are reached with a few words."""
    return PromptTokenizer(max_tokens=10)


@pytest.fixture
def warnings_seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Messages that the text package gives to the logger, from now on."""
    seen: list[str] = []
    for module in ('prompt', 'tokenize'):
        monkeypatch.setattr(f'glipv2_mmdet.text.{module}.print_log', lambda message, **_: seen.append(message))
    return seen


@pytest.fixture(scope='session')
def text_folder() -> Path:
    """The package folder of the text part."""
    import glipv2_mmdet.text

    return Path(glipv2_mmdet.text.__file__).parent
