"""What mkdocs does not do by itself: show references of docstrings as code."""

from __future__ import annotations

import re
from typing import Any

# :class:`~package.Name` of a docstring, once Markdown has made code of the part in backticks
_REFERENCE = re.compile(r':(?:class|func|meth|mod|attr):<code>~?(?:[\w.]*\.)?(\w+)</code>')


def on_page_content(html: str, **_: Any) -> str:
    """Names alone, for references in the docstrings."""
    return _REFERENCE.sub(r'<code>\1</code>', html)
