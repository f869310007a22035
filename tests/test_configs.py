"""Every shipped config is read and its model built; the runnable ones also take a step."""
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from glipv2_mmdet.text import prompt_from_classes

CONFIGS = Path(__file__).parents[1] / 'configs'
RUNNABLE = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


def _name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


@pytest.mark.parametrize('path', RUNNABLE, ids=_name)
def test_a_config_starts_with_its_purpose_and_reads(path):
    assert path.read_text().startswith('# ')
    config = Config.fromfile(path)
    assert config.custom_imports['imports'] == ['glipv2_mmdet']


@pytest.mark.slow
@pytest.mark.parametrize('path', RUNNABLE, ids=_name)
def test_a_config_builds_its_model(path):
    # the meta device builds every module and no weight: full-width models in milliseconds and no memory
    config = Config.fromfile(path)
    with torch.device('meta'):
        model = MODELS.build(config.model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e5


#: Row of the paper's ablation (table 4) -> which losses are on: localisation with region-word loss, inter-image, MLM.
ABLATION = dict(
    none=(True, False, False), mlm=(False, False, True), loc_intra=(True, False, False),
    loc_intra_mlm=(True, False, True), loc_intra_inter=(True, True, False), all=(True, True, True))


@pytest.mark.slow
@pytest.mark.parametrize('row', ABLATION)
def test_an_ablation_row_has_the_losses_of_its_name(row):
    config = Config.fromfile(CONFIGS / 'glipv2' / 'ablation' / f'{row}.py')
    model = MODELS.build(config.model)
    sample = _sample(['red circle', 'cat'], [[20, 30, 90, 100]], [0], (128, 128))
    losses = model.loss(torch.randn(1, 3, 128, 128), [sample])
    grounding, inter, mlm = ABLATION[row]
    assert all((losses[name] > 0) == grounding for name in ('loss_cls', 'loss_bbox', 'loss_centerness'))
    assert ('loss_inter' in losses, 'loss_mlm' in losses) == (inter, mlm)
    assert (config.train_cfg.max_iters == 1) == (row == 'none')


def test_ablation_rows_are_those_that_ship():
    assert {path.stem for path in (CONFIGS / 'glipv2' / 'ablation').glob('*.py')} == set(ABLATION)


def test_stage_two_drops_masked_language_modelling_only():
    first, second = (
        Config.fromfile(CONFIGS / 'glipv2' / f'glipv2_t_pretrain{stage}.py').model for stage in ('', '_stage2'))
    assert first.pop('mlm_head').type == 'MLMHead' and second.pop('mlm_head') is None
    assert first == second and first.inter_loss.type == 'InterImageContrast'


def _sample(names, boxes, labels, shape):
    sample = DetDataSample(metainfo=dict(prompt=prompt_from_classes(names), img_shape=shape))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long))
    return sample


@pytest.mark.slow
def test_glipv2_t_pretrain_steps_at_full_width():
    """The published widths on one 224 px image: a finite loss, and a gradient for every trainable parameter."""
    config = Config.fromfile(CONFIGS / 'glipv2' / 'glipv2_t_pretrain.py')
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    boxes = [[20, 30, 150, 200], [60, 60, 90, 100]]
    sample = _sample(['traffic light', 'person', 'cat'], boxes, [1, 0], (224, 224))

    losses = model.loss(torch.randn(1, 3, 224, 224), [sample])
    total = sum(losses.values())
    total.backward()

    assert torch.isfinite(total)
    trainable = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, grad in trainable.items() if grad is None or not torch.isfinite(grad).all()] == []
