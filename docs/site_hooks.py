"""What mkdocs does not do by itself: leave out pages that are not there, and show references of docstrings as code."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# :class:`~package.Name` of a docstring, once Markdown has made code of the part in backticks
_REFERENCE = re.compile(r':(?:class|func|meth|mod|attr):<code>~?(?:[\w.]*\.)?(\w+)</code>')


def on_config(config: Any) -> Any:
    """Keep the entries of the navigation whose file exists."""
    config['nav'] = present(config['nav'], Path(config['docs_dir']))
    return config


def on_page_content(html: str, **_: Any) -> str:
    """Names alone, for references in the docstrings."""
    return _REFERENCE.sub(r'<code>\1</code>', html)


def present(entries: list[Any], folder: Path) -> list[Any]:
    """A navigation without missing pages, and without sections that have none left."""
    kept = []
    for entry in entries:
        if isinstance(entry, str):
            kept += [entry] if (folder / entry).is_file() else []
        else:
            (title, inside), = entry.items()
            pages = present(inside if isinstance(inside, list) else [inside], folder)
            kept += [{title: pages if isinstance(inside, list) else pages[0]}] if pages else []
    return kept
