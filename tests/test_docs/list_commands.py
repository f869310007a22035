"""Lists the commands and snippets of the documentation: python tests/test_docs/list_commands.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.test_docs.registry import rule_of
from tests.test_docs.snippets import pages, snippets_of


def rows() -> Iterator[str]:
    """Lines of a Markdown table."""
    yield '| page | line | command or snippet | test, or why none |'
    yield '| --- | ---: | --- | --- |'
    for page in pages():
        for snippet in snippets_of(page):
            rule = rule_of(snippet)
            what = 'NOT REGISTERED' if rule is None else rule.test or rule.reason
            text = snippet.text if snippet.kind == 'bash' else snippet.text.strip().splitlines()[0] + ' ...'
            text = text.replace('|', '\\|')
            yield f'| {snippet.page} | {snippet.line} | `{text[:110]}{"..." if len(text) > 110 else ""}` | {what} |'


if __name__ == '__main__':
    print('\n'.join(rows()))
