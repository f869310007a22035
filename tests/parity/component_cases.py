"""Single operations and components against the fixtures' ``ops`` and ``reference`` folders."""

from __future__ import annotations

from tests.parity.compare import Comparison
from tests.parity.fixtures import Arrays, Case, seeded_weights
from tests.parity.layer_cases import compare_bi_attention, compare_deform_conv
from tests.parity.loss_cases import compare_inter_image_contrast, compare_mlm_head, compare_token_losses
from tests.parity.mask_cases import compare_hourglass, compare_mask_predictor

#: By the beginning of the file name.
COMPONENTS = {
    'modulated_deform_conv': compare_deform_conv,
    'bi_attention': compare_bi_attention,
    'token_losses': compare_token_losses,
    'shallow_contrastive': compare_inter_image_contrast,
    'mlm_head': compare_mlm_head,
    'hourglass': compare_hourglass,
    'vl_mask_predictor': compare_mask_predictor,
}


def compare_component_case(case: Case) -> Comparison:
    """All arrays of ``case``, or one row that says that the project has no such component yet."""
    result = Comparison(case.name)
    arrays = Arrays.read(case.folder, case.part)
    run = next((run for stem, run in COMPONENTS.items() if case.part.startswith(stem)), None)
    if run is None:
        result.skip('*', 'no component yet')
        return result
    weights = {
        group: seeded_weights(case.root, tensors, arrays.info['salt'])
        for group, tensors in arrays.info.get('specs', {}).items()
        if not group.startswith('grad_order')
    }
    run(arrays, weights, result)
    for array in arrays.unused:
        result.fail(array, 'the fixture has this array, the check does not know it')
    return result
