"""The parity check in the suite: one test per case of the shared fixtures, and tests of the check itself."""

import shutil

import numpy as np
import pytest
import torch

from tests.parity import check
from tests.parity.compare import Comparison, summary, table
from tests.parity.component_cases import COMPONENTS, compare_component_case
from tests.parity.fixtures import find_cases
from tests.parity.model_build import build_model
from tests.parity.model_case import compare_model_case

MODEL_CASES = ('glip_a/det', 'glip_a/caption', 'glip_t/det', 'glip_t/caption')
COMPONENT_CASES = (
    'ops/modulated_deform_conv',
    'reference/bi_attention',
    'reference/token_losses',
    'reference/shallow_contrastive_a',
    'reference/shallow_contrastive_b',
    'reference/shallow_contrastive_c',
    'reference/mlm_head',
    'reference/hourglass_n1_f256',
    'reference/hourglass_n2_f384',
    'reference/vl_mask_predictor',
)


@pytest.fixture(scope='module')
def cases(shared_dir):
    return {case.name: case for case in find_cases(shared_dir / 'parity')}


@pytest.fixture(scope='module')
def models():
    """Builds a folder's model once for both prompt kinds; holds one at a time."""
    built = {}

    def build(case):
        if case.folder not in built:
            built.clear()
            built[case.folder] = build_model(case.folder, case.root)
        return built[case.folder]

    return build


@pytest.mark.parity
@pytest.mark.parametrize('name', MODEL_CASES)
def test_model_computes_what_glip_computes(name, cases, models):
    _assert_agrees(compare_model_case(cases[name], *models(cases[name])))


@pytest.mark.parity
@pytest.mark.parametrize('name', COMPONENT_CASES)
def test_component_computes_what_the_reference_computes(name, cases):
    _assert_agrees(compare_component_case(cases[name]))


@pytest.mark.parity
def test_every_shared_case_is_tested_or_waits_for_its_component(cases):
    waiting = {
        name
        for name, case in cases.items()
        if case.kind != 'model' and not any(case.part.startswith(stem) for stem in COMPONENTS)
    }
    assert set(cases) == {*MODEL_CASES, *COMPONENT_CASES, *waiting}


@pytest.mark.parity
def test_check_reports_a_changed_array_and_exits_with_1(shared_dir, tmp_path, capsys):
    source = shared_dir / 'parity'
    (tmp_path / 'ops').mkdir()
    shutil.copy(source / 'seeded_weights.py', tmp_path / 'seeded_weights.py')
    shutil.copy(source / 'ops' / 'modulated_deform_conv.json', tmp_path / 'ops')
    with np.load(source / 'ops' / 'modulated_deform_conv.npz') as arrays:
        changed = dict(arrays)
    np.savez(tmp_path / 'ops' / 'modulated_deform_conv.npz', **changed)
    assert check.main([str(tmp_path)]) == 0
    changed['out_low'] = changed['out_low'] + np.float32(1e-3) * np.abs(changed['out_low']).max()
    changed['surprise'] = np.zeros(1)
    np.savez(tmp_path / 'ops' / 'modulated_deform_conv.npz', **changed)
    capsys.readouterr()

    assert check.main([str(tmp_path), '--json', str(tmp_path / 'result.json')]) == 1

    failed = capsys.readouterr().out.split('past their tolerance:')[1]
    assert 'out_low (inference)' in failed and 'surprise' in failed and 'out_mid' not in failed
    assert '"num_failed": 3' in (tmp_path / 'result.json').read_text()


def test_folder_without_cases_is_refused_with_the_expected_layout(tmp_path):
    with pytest.raises(SystemExit, match=r'No parity case in .*state_dict_spec.json'):
        check.main([str(tmp_path)])


def test_comparison_measures_against_the_largest_magnitude():
    result = Comparison('case')
    result.relative('half', [1.0, -4.0], [1.0, -8.0], 0.1)
    result.absolute('pixels', [10.0, 20.5], [10.0, 20.0], 1.0)
    result.equal('labels', [1, 2, 3], [1, 5, 3])
    assert [row.error for row in result.rows] == [0.5, 0.5, 1.0]
    assert [row.failed for row in result.rows] == [True, False, True]


def test_nan_and_wrong_shapes_fail_and_missing_components_do_not():
    result = Comparison('case')
    result.relative('nan', torch.tensor([float('nan'), 1.0]), [1.0, 1.0], 1e9)
    result.relative('nan total', [1.0], [1.0], 1e9, also=[0.0, float('nan')])
    result.relative('shape', [1.0, 2.0], [1.0], 1e9)
    result.skip('later', 'no component yet')
    assert [row.failed for row in result.rows] == [True, True, True, False]
    assert not result.rows[-1].ok
    assert 'shape (2,) instead of (1,)' in table(result.rows)
    assert summary(result.rows).startswith('case: 0 of 3 arrays agree')


def test_empty_arrays_agree_with_empty_arrays_only():
    result = Comparison('case')
    result.relative('both', np.zeros((0, 4)), np.zeros((0, 4)), 0.0)
    result.relative('one', np.zeros((1, 4)), np.zeros((0, 4)), 1.0)
    assert [row.ok for row in result.rows] == [True, False]


def _assert_agrees(comparison):
    assert any(row.compared for row in comparison.rows)
    failed = [row for row in comparison.rows if row.failed]
    assert not failed, '\n' + table(failed)
