"""YAML whose size is bounded before it is built, and whose words stay texts: ``no`` is a class name, not False."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

#: Bytes of a file, and nodes with every alias written out.
MAX_BYTES, MAX_NODES = 4_000_000, 200_000


def read_yaml(file: Path, error_type: type[ValueError]) -> Any:
    """Lists, dicts and texts of a file; no scalar becomes a number, a truth value or a date.

    Raises:
        error_type: not yaml or not UTF-8; too large, also by aliases; a key twice; an anchor inside itself.
    """
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise error_type(f'{file}: {size / 1e6:.1f} MB; expected at most {MAX_BYTES / 1e6:g} MB of settings.')
    try:
        root = yaml.compose(file.read_text(encoding='utf-8-sig'), Loader=yaml.BaseLoader)
        if root is None:
            return None
        num_nodes = _num_nodes(root, {}, str(file), error_type)
        if num_nodes > MAX_NODES:
            raise error_type(
                f'{file}: more than {MAX_NODES} entries with its aliases written out. Write the names without aliases.'
            )
        return yaml.BaseLoader('').construct_document(root)
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise error_type(f'{file}: not yaml ({error}). Export the data again.') from error


def _num_nodes(node: yaml.Node, counts: dict[int, int | None], file: str, error_type: type[ValueError]) -> int:
    """Nodes below a node, each alias counted as what it stands for."""
    if id(node) in counts:
        known = counts[id(node)]
        if known is None:
            raise error_type(f'{file}: an anchor contains itself. Write the names without aliases.')
        return known
    counts[id(node)] = None
    number = 1
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None) if len(set(keys)) < len(keys) else None
        if twice is not None:
            raise error_type(f'{file}: key "{twice[:60]}" is given twice; expected each key once.')
        number += sum(_num_nodes(part, counts, file, error_type) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        number += sum(_num_nodes(part, counts, file, error_type) for part in node.value)
    counts[id(node)] = number
    return number
