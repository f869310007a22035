"""Links between pages lead somewhere, and so do links to headings."""

from __future__ import annotations

import re

import pytest

from tests.test_docs.snippets import ROOT, pages

_LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')
_FENCE = re.compile(r'```.*?```', re.DOTALL)


def anchors(text: str) -> set[str]:
    """What Markdown makes of the headings of a page."""
    found = set()
    for heading in re.findall(r'^#+ (.+)$', _FENCE.sub('', text), re.MULTILINE):
        words = re.sub(r'[^\w\- ]', '', heading.replace('`', '')).strip().lower()
        found.add(re.sub(r'[ \-]+', '-', words))
    return found


@pytest.mark.parametrize('page', pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    text = page.read_text(encoding='utf-8')
    for link in _LINK.findall(_FENCE.sub('', text)):
        if re.match(r'\w+:', link):
            continue
        path, _, anchor = link.partition('#')
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), f'{page.relative_to(ROOT)}: {link} leads nowhere'
        if anchor and target.suffix == '.md':
            assert anchor in anchors(target.read_text(encoding='utf-8')), f'{page.relative_to(ROOT)}: no heading {link}'
