"""What rows of the paper's ablations change: losses, stages, the text encoder."""

import pytest
import torch
from mmdet.registry import MODELS

from tests.test_configs.reading import CONFIGS, make_sample, read_recipe

#: Row of the paper's ablation (table 4) -> which losses are on: localisation with region-word loss, inter-image, MLM.
ABLATION = dict(
    none=(True, False, False),
    mlm=(False, False, True),
    loc_intra=(True, False, False),
    loc_intra_mlm=(True, False, True),
    loc_intra_inter=(True, True, False),
    all=(True, True, True),
)


@pytest.mark.slow
@pytest.mark.parametrize('row', ABLATION)
def test_an_ablation_row_has_the_losses_of_its_name(row):
    config = read_recipe(f'ablation/{row}')
    model = MODELS.build(config.model)
    sample = make_sample(['red circle', 'cat'], [[20, 30, 90, 100]], [0], (128, 128))
    losses = model.loss(torch.randn(1, 3, 128, 128), [sample])
    grounding, inter, mlm = ABLATION[row]
    assert all((losses[name] > 0) == grounding for name in ('loss_cls', 'loss_bbox', 'loss_centerness'))
    assert ('loss_inter' in losses, 'loss_mlm' in losses) == (inter, mlm)
    assert (config.train_cfg.max_iters == 1) == (row == 'none')


def test_ablation_rows_are_those_that_ship():
    assert {path.stem for path in (CONFIGS / 'glipv2' / 'ablation').glob('*.py')} == set(ABLATION)


def test_stage_two_drops_masked_language_modelling_only():
    first, second = (read_recipe(f'glipv2_t_pretrain{stage}').model for stage in ('', '_stage2'))
    assert first.pop('mlm_head').type == 'MLMHead' and second.pop('mlm_head') is None
    assert first == second and first.inter_loss.type == 'InterImageContrast'


def test_the_encoder_ablation_changes_the_text_side_only():
    clip, bert = (read_recipe(name).model for name in ('glipv2_b_pretrain', 'glipv2_b_bert_pretrain'))
    assert bert.language_model.type == 'BertTextEncoder' and bert.fusion.text_layer == 'bert'
    assert clip.backbone == bert.backbone and clip.neck == bert.neck
    for part in ('fusion', 'bbox_head', 'inter_loss', 'mlm_head'):
        different = {key for key in clip[part] if clip[part][key] != bert[part].get(key)}
        assert different <= {'text_channels', 'text_heads', 'text_layer', 'vocab_size'}, part
