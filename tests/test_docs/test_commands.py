"""Every command of README and docs is registered, its script and config are there, and its options are parsed."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import pytest
from mmengine.config import Config

import glipv2_mmdet
from tests.test_docs.list_commands import rows
from tests.test_docs.registry import RULES, rule_of
from tests.test_docs.snippets import ROOT, Snippet, commands, pages, snippets_of

ALL = [snippet for page in pages() for snippet in snippets_of(page)]
BASH = [snippet for snippet in ALL if snippet.kind == 'bash']
_PLACEHOLDER = re.compile(r'^[A-Z][A-Z_0-9]*$')


def where(snippet: Snippet) -> str:
    return f'{snippet.page}:{snippet.line}'


def test_continued_lines_are_joined_and_comments_cut():
    assert commands('make a   # why\n\npython b \\\n    --c d\n') == [(0, 'make a'), (2, 'python b --c d')]


@pytest.mark.parametrize('snippet', ALL, ids=where)
def test_each_snippet_is_registered(snippet):
    assert rule_of(snippet) is not None, (
        f'{where(snippet)}: {snippet.kind} snippet without a rule:\n{snippet.text}\nAdd a Rule to '
        'tests/test_docs/registry.py that names the test which runs it, or the reason why none does.'
    )


def test_registered_tests_are_there_and_rules_say_one_thing():
    for rule in RULES:
        assert bool(rule.test) != bool(rule.reason), rule
        path, _, name = rule.test.partition('::')
        assert not path or (ROOT / path).exists(), f'{rule.test} is not there'
        assert not name or f'def {name}(' in (ROOT / path).read_text(), f'{rule.test} is not there'


def script_of(words: list[str]) -> Path | None:
    """The script of this repository that a command runs; distributed launchers stand for the Python script."""
    path = next((word for word in words if word.startswith(('tools/', 'benchmarks/', 'tests/'))), None)
    if path is None:
        return None
    python = re.sub(r'tools/dist_(\w+)\.sh$', r'tools/\1.py', path)
    return ROOT / python


@pytest.mark.parametrize('snippet', [snippet for snippet in BASH if script_of(snippet.text.split())], ids=where)
def test_scripts_and_configs_are_there(snippet):
    words = shlex.split(snippet.text)
    assert script_of(words).exists(), f'{where(snippet)}: {script_of(words)} is not there'
    for word in words:
        if re.fullmatch(r'configs/[\w/]+\.py', word):
            assert (ROOT / word).is_file(), f'{where(snippet)}: {word} is not there'


@lru_cache
def load(script: Path) -> ModuleType:
    """A script as a module, without running its main()."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PARSED = [snippet for snippet in BASH if re.search(r'tools/(dist_)?(train|test)\.(py|sh) configs/', snippet.text)]


@pytest.mark.parametrize('snippet', PARSED, ids=where)
def test_training_and_testing_commands_lay_their_options_over_the_config(snippet):
    words = shlex.split(snippet.text)
    script = script_of(words)
    module = load(script)
    at = next(place for place, word in enumerate(words) if word.startswith('tools/'))
    given = words[at + 1 :]
    if words[at].endswith('.sh'):  # the number of processes: CONFIG [CHECKPOINT] N
        place = 2 if script.stem == 'test' else 1
        assert given[place].isdigit(), f'{where(snippet)}: number of processes expected, found {given[place]}'
        del given[place]
    cfg = module.build_config(module.parse_args(given))
    plain = Config.fromfile(given[0])
    options = given[given.index('--cfg-options') + 1 :] if '--cfg-options' in given else []
    for option in options:
        if '=' not in option or option.startswith('--'):
            break
        key, value = option.split('=', 1)
        parts = [part for part in key.split('.') if not part.isdigit()]
        assert parts[0] in plain or parts[0] in ('load_from', 'auto_scale_lr', 'randomness'), (
            f'{where(snippet)}: "{key}" is no setting of {given[0]}'
        )
        if _PLACEHOLDER.match(value):
            assert value in cfg.pretty_text


@pytest.mark.parametrize(
    'snippet',
    [
        snippet
        for snippet in BASH
        if re.search(r'^python tools/(browse_dataset|show_heatmaps|show_referring)\.py', snippet.text)
    ],
    ids=where,
)
def test_options_of_the_picture_tools_are_parsed(snippet):
    words = shlex.split(snippet.text)
    module = importlib.import_module(words[1].removesuffix('.py').replace('/', '.'))
    module.parse_args(words[2:])


def test_the_package_says_its_version():
    assert re.fullmatch(r'\d+\.\d+\.\d+\S*', glipv2_mmdet.__version__)


def test_the_list_has_a_line_per_snippet():
    lines = list(rows())
    assert len(lines) == len(ALL) + 2 and not any('NOT REGISTERED' in line for line in lines)


def test_the_onedl_script_explains_itself():
    done = subprocess.run(
        ['bash', 'tools/test_with_onedl.sh', '--help'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHON=sys.executable),
        timeout=60,
    )
    assert done.returncode == 0 and 'onedl-mmengine, onedl-mmcv and' in done.stdout
