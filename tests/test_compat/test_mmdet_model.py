"""The stack carries mmdet models that are not ours: train, save, reload, predict."""

import json
from pathlib import Path

import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmengine.config import Config
from mmengine.runner import Runner

CONFIG = Path(__file__).resolve().parents[2] / 'configs/compat/atss_r18_shapes.py'


def test_config_names_the_categories_of_the_data(shapes_dir):
    """Not the held-out ones, and in the order of the category ids."""
    categories = json.loads((shapes_dir / 'annotations/train.json').read_text())['categories']
    cfg = Config.fromfile(CONFIG)
    assert cfg.classes == tuple(category['name'] for category in sorted(categories, key=lambda c: c['id']))
    assert cfg.model.bbox_head.num_classes == 30


@pytest.mark.slow
def test_atss_trains_an_epoch_saves_reloads_and_predicts(shapes_dir, tmp_path):
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(
        {
            'work_dir': str(tmp_path),
            'log_level': 'WARNING',
            # one epoch on 24 pictures teaches nothing; without a threshold there are boxes all the same
            'model.test_cfg.score_thr': 0.0,
            'train_cfg.max_epochs': 1,
            'train_dataloader.dataset.data_root': f'{shapes_dir}/',
            'val_dataloader.dataset.data_root': f'{shapes_dir}/',
            'test_dataloader.dataset.data_root': f'{shapes_dir}/',
            'val_evaluator.ann_file': f'{shapes_dir}/annotations/val.json',
            'test_evaluator.ann_file': f'{shapes_dir}/annotations/val.json',
            **{
                f'{split}_dataloader.{key}': value
                for split in ('train', 'val', 'test')
                for key, value in dict(num_workers=0, persistent_workers=False).items()
            },
        }
    )
    runner = Runner.from_cfg(cfg)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    assert (runner.epoch, runner.iter) == (1, 3)
    trained = runner.model.state_dict()
    assert all(torch.isfinite(value).all() for value in trained.values())
    assert not torch.equal(trained['bbox_head.atss_cls.weight'], before['bbox_head.atss_cls.weight'])
    assert 0 <= runner.message_hub.get_scalar('val/coco/bbox_mAP').current() <= 1

    checkpoint = Path((tmp_path / 'last_checkpoint').read_text())
    assert checkpoint.name == 'epoch_1.pth'
    model = init_detector(cfg, str(checkpoint), device='cpu')
    for name, value in model.state_dict().items():
        assert torch.equal(value, trained[name])
    image = sorted((shapes_dir / 'images/val').iterdir())[0]
    result = inference_detector(model, str(image))
    boxes = result.pred_instances.bboxes
    height, width = result.ori_shape
    assert 0 < len(boxes) <= 100
    assert (boxes >= 0).all() and (boxes[:, 0::2] <= width).all() and (boxes[:, 1::2] <= height).all()
    assert result.pred_instances.labels.max() < 30
    assert model.dataset_meta['classes'][0] == 'red circle'
