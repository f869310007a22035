"""Nothing in the package, its tools and benchmarks evaluates text, runs a shell or unpickles: read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    file
    for place in ('glipv2_mmdet', 'tools', 'benchmarks', 'configs', 'setup.py')
    for file in ([REPOSITORY / place] if place.endswith('.py') else (REPOSITORY / place).rglob('*.py'))
    if '.mim' not in file.parts
)
#: Functions that run what they are given, or unpickle it.
FORBIDDEN = frozenset(
    {
        'eval',
        'exec',
        'compile',
        '__import__',
        'os.system',
        'os.popen',
        'subprocess.getoutput',
        'subprocess.getstatusoutput',
        'pickle.load',
        'pickle.loads',
        'pickle.Unpickler',
        'dill.load',
        'dill.loads',
        'joblib.load',
        'marshal.load',
        'marshal.loads',
        'shelve.open',
        'pandas.read_pickle',
        'pd.read_pickle',
        'yaml.unsafe_load',
        'yaml.full_load',
        'yaml.unsafe_load_all',
        'yaml.full_load_all',
        'yaml.load_all',
        'torch.hub.load',
        'torch.jit.load',
        'torch.export.load',
        'mmengine.load',
        'mmengine.fileio.load',
    }
)
#: Functions that do so unless an argument says otherwise.
PROTECTED_BY = {
    'torch.load': 'weights_only',
    'load_state_dict_from_url': 'weights_only',
    'load_url': 'weights_only',
    'torch.hub.load_state_dict_from_url': 'weights_only',
    'yaml.load': 'Loader',
}
SAFE_LOADERS = ('yaml.SafeLoader', 'yaml.CSafeLoader', 'SafeLoader', 'CSafeLoader')
#: The one place where a value decides: --trust arrives there.
DECIDES = 'glipv2_mmdet/compat/safe_load.py'
#: The one call that is made under torch's own switch, see there.
SWITCHED = ('glipv2_mmdet/export/torch_export.py', 'torch.export.load')


def findings(source: str, name: str = '') -> Iterator[str]:
    """What a file does that it should not, one line each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ('pickle', 'marshal', 'dill', 'joblib'):
            found = [alias.name for alias in node.names if alias.name in ('load', 'loads', 'Unpickler')]
            yield from (f'{node.lineno}: from {node.module} import {name}' for name in found)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if called in FORBIDDEN and (name, called) != SWITCHED:
            yield f'{node.lineno}: {called}'
        elif called in PROTECTED_BY:
            value = given.get(PROTECTED_BY[called])
            if called == 'yaml.load':
                safe = value is not None and ast.unparse(value) in SAFE_LOADERS
            else:
                safe = value is not None and (
                    ast.unparse(value) == 'True' or (name == DECIDES and not isinstance(value, ast.Constant))
                )
            if not safe:
                yield f'{node.lineno}: {called} without {PROTECTED_BY[called]}'
        for argument in ('allow_pickle', 'shell', 'trust_remote_code'):
            if ast.unparse(given.get(argument, ast.Constant(False))) != 'False':
                yield f'{node.lineno}: {called} with {argument}'


def test_no_source_runs_text_or_unpickles():
    assert len(SOURCES) > 200
    bad = [
        f'{file.relative_to(REPOSITORY)}:{finding}'
        for file in SOURCES
        for finding in findings(file.read_text(encoding='utf-8'), file.relative_to(REPOSITORY).as_posix())
    ]
    assert not bad, '\n'.join(bad)


@pytest.mark.parametrize(
    'line',
    [
        'eval("1")',
        'exec(code)',
        'os.system(f"ls {name}")',
        'subprocess.run(command, shell=True)',
        'pickle.load(file)',
        'pickle.loads(data)',
        'from pickle import loads',
        'yaml.load(text)',
        'yaml.load(text, Loader=yaml.Loader)',
        'yaml.load(text, yaml.SafeLoader)',
        'torch.load(file)',
        'torch.load(file, weights_only=False)',
        'torch.load(file, weights_only=safe)',
        'load_state_dict_from_url(url)',
        'np.load(file, allow_pickle=True)',
        'AutoTokenizer.from_pretrained(folder, trust_remote_code=True)',
        'subprocess.Popen(x, shell=flag)',
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert len(list(findings(line, 'glipv2_mmdet/a.py'))) == 1


@pytest.mark.parametrize(
    'line',
    [
        'model.eval()',
        'yaml.safe_load(text)',
        'yaml.load(text, Loader=yaml.CSafeLoader)',
        'subprocess.run(command)',
        'torch.load(file, weights_only=True)',
        'np.load(file)',
        'subprocess.run(x, shell=False)',
        're.compile(pattern)',
    ],
)
def test_the_search_leaves_the_rest_alone(line):
    assert not list(findings(line, 'glipv2_mmdet/a.py'))
