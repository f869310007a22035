"""One message for whatever is missing, too old or broken below the package."""

import subprocess
import sys
from types import ModuleType

import pytest

from glipv2_mmdet.compat.versions import REQUIREMENTS, Requirement, StackError, check_stack

REQUIRED = (Requirement('alpha', '1.2'), Requirement('beta', '0.10.3'))


def loader(**answers):
    """An import function over made-up modules: a version string, an exception, or absent."""

    def load(name):
        answer = answers.get(name)
        if answer is None:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
        if isinstance(answer, Exception):
            raise answer
        module = ModuleType(name)
        module.__version__ = answer
        return module

    return load


def problems(**answers):
    with pytest.raises(StackError) as caught:
        check_stack(REQUIRED, loader(**answers))
    return str(caught.value)


def test_the_installed_stack_is_accepted_and_reported():
    assert list(check_stack()) == [requirement.module for requirement in REQUIREMENTS]


@pytest.mark.parametrize('version', ['1.2', '1.2.0', '1.2.0rc4', '1.10', '2.3.6', '1.2+cu130'])
def test_the_bound_and_anything_newer_pass(version):
    found = check_stack(REQUIRED, loader(alpha=version, beta='0.10.12'))
    assert found == {'alpha': version, 'beta': '0.10.12'}


def test_everything_wrong_is_in_one_message_with_the_install_lines():
    message = problems(alpha='1.1.9')
    assert 'alpha 1.1.9 is too old; expected alpha >= 1.2.' in message
    assert 'beta is missing; expected beta >= 0.10.3.' in message
    assert "pip install 'glipv2_mmdet[mm]'" in message
    assert 'onedl-mmcv' in message


def test_versions_are_compared_as_numbers():
    assert 'beta 0.9.9 is too old' in problems(alpha='1.2', beta='0.9.9')


def test_a_missing_part_of_a_package_is_named():
    message = problems(alpha='1.2', beta=ModuleNotFoundError("No module named 'gamma'", name='gamma'))
    assert "beta does not start: it needs the package 'gamma'." in message


@pytest.mark.parametrize(
    'error',
    [
        AssertionError('MMCV==2.2.0 is used but incompatible.'),
        RuntimeError('operator torchvision::nms does not exist'),
        OSError('libtorch_cuda.so: cannot open shared object file'),
    ],
)
def test_a_package_that_does_not_start_is_quoted(error):
    assert f'beta does not start: {type(error).__name__}: {error}' in problems(alpha='1.2', beta=error)


def test_mmdet_and_torchvision_come_with_their_usual_fix():
    required = (Requirement('torchvision', '0.16'), Requirement('mmdet', '3.3.0'))
    with pytest.raises(StackError, match='one command') as caught:
        check_stack(required, loader(torchvision=RuntimeError('no nms'), mmdet=AssertionError('MMCV==2.2.0')))
    assert "'mmcv-lite<2.2'" in str(caught.value)


def test_a_package_that_python_cannot_find_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    with pytest.raises(StackError, match='mmcv is missing'):
        check_stack()


@pytest.mark.slow
def test_importing_the_package_without_mmcv_gives_the_message():
    script = "import sys; sys.modules['mmcv'] = None\nimport glipv2_mmdet"
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'StackError' in done.stderr
    assert 'mmcv is missing; expected mmcv >= 2.0.0.' in done.stderr
