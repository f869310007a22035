"""A stopped step is taken apart, saved and run again to the same numbers; its file runs nothing."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from glipv2_mmdet.engine import NonFiniteError, StopOnNonFiniteHook
from glipv2_mmdet.engine.plain_data import from_plain, to_plain
from glipv2_mmdet.engine.replay import replay
from glipv2_mmdet.engine.stopped_step import RandomState, load_step
from glipv2_mmdet.models.layers.text_layers import BertFusionLayer
from glipv2_mmdet.text import prompt_from_classes
from tests.test_engine.tiny_run import BadGradient
from tests.test_models.nano import CHANNELS, MASK_HEAD, TEXT_CHANNELS, build_detector, data_sample, detector_settings
from tests.test_tools import load_tool

ALL_LOSSES = dict(
    mask_head=MASK_HEAD,
    mlm_head=dict(type='MLMHead', text_channels=TEXT_CHANNELS, mask_probability=0.7),
    inter_loss=dict(type='InterImageContrast', channels=CHANNELS, text_channels=TEXT_CHANNELS),
)
NAMES = ('cat', 'red car')


class Pictures(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        sample = data_sample(
            NAMES,
            boxes=[[4, 6, 50, 58], [20, 20, 40, 44]],
            labels=[index % 2, 0],
            img_id=index,
            prompt=prompt_from_classes(NAMES),
        )
        sample.gt_instances.masks = BitmapMasks(np.ones((2, 64, 64), dtype=np.uint8), 64, 64)
        picture = torch.randint(0, 255, (3, 64, 64), generator=torch.Generator().manual_seed(index))
        return dict(inputs=picture.to(torch.uint8), data_samples=sample)


def break_loss(model):
    """Centerness overflows in the loss."""
    torch.nn.init.constant_(model.bbox_head.centerness.bias, 3e38)


def train(folder, change):
    """A detector with all losses; ``change`` makes step 2 go wrong."""
    model = build_detector(ALL_LOSSES)

    class Change(StopOnNonFiniteHook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            super().before_train_iter(runner, batch_idx, data_batch)
            if runner.iter == 1:
                change(model)

    runner = Runner(
        model,
        str(folder),
        cfg=Config(dict(model=detector_settings(ALL_LOSSES))),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=Pictures(),
            collate_fn=dict(type='pseudo_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=3),
        randomness=dict(seed=11),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-4), clip_grad=dict(max_norm=1.0)),
        default_hooks=dict(logger=None, checkpoint=None, timer=None),
        custom_hooks=[Change()],
        log_level='ERROR',
        default_scope='mmdet',
        experiment_name=folder.name,
    )
    with pytest.raises(NonFiniteError) as caught:
        runner.train()
    return str(caught.value), folder / 'non_finite/iter_2_rank_0.pth'


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    return train(tmp_path_factory.mktemp('stopped'), break_loss)


def test_every_loss_is_that_of_the_run(stopped, capsys):
    """Dropout, hidden words and drawn regions too: all but the bad loss agree to the last bit."""
    message, file = stopped
    assert 'loss_centerness is inf' in message and 'image 2, ' in message and 'image 3, ' in message
    step = load_step(file)
    (result,) = replay(step)
    assert (
        set(result.losses) - {'loss'}
        == set(result.saved_losses)
        >= {'loss_cls', 'loss_bbox', 'loss_centerness', 'loss_inter', 'loss_mask', 'loss_mlm'}
    )
    assert {name: result.losses[name] for name in result.saved_losses} == dict(step.batches[0].losses)
    assert result.first_output == 'bbox_head.loss_box (LocalizationLoss)' and not result.bad_weights
    assert load_tool('replay_batch').main([str(file)]) == 1
    printed = capsys.readouterr().out
    assert 'Step 2, rank 0 of 1' in printed and 'image 2, "photo.jpg", prompt "cat. red car"' in printed
    assert 'loss_centerness: inf (in the run: inf)' in printed
    assert 'weights: all finite, the largest is 3e+38 in bbox_head.centerness.bias' in printed
    assert 'first module whose output is not finite: bbox_head.loss_box (LocalizationLoss)' in printed


def test_the_first_bad_weight_module_and_gradient_are_named(stopped):
    step = load_step(stopped[1])
    step.weights['bbox_head.centerness.bias'].zero_()
    (fine,) = replay(step)
    assert fine.all_finite and fine.first_output is None
    name = 'fusion.blocks.0.text_layer.ffn_norm.weight'
    step.weights[name][0] = float('inf')
    (result,) = replay(step)
    assert result.bad_weights == [name]
    assert result.first_output == 'fusion.blocks.0.text_layer.ffn_norm (LayerNorm)'
    assert 'weights: 1 are not finite' in '\n'.join(load_tool('replay_batch').describe(step, '', result))


def test_a_gradient_is_traced_to_the_module_it_comes_from(stopped, monkeypatch):
    """All outputs are finite; in the backward pass the layer norm inside the text layer is the first to be told inf."""
    step = load_step(stopped[1])
    step.weights['bbox_head.centerness.bias'].zero_()
    forward = BertFusionLayer.forward
    monkeypatch.setattr(BertFusionLayer, 'forward', lambda *args, **kwargs: BadGradient.apply(forward(*args, **kwargs)))
    (result,) = replay(step)
    assert result.first_output is None and result.losses['loss'] < 100
    assert result.first_gradient == 'fusion.blocks.0.text_layer.ffn_norm (LayerNorm)'
    printed = '\n'.join(load_tool('replay_batch').describe(step, '', result))
    assert 'losses backwards, whose gradient is not finite: fusion.blocks.0.text_layer.ffn_norm' in printed
    assert f'parameters whose gradient is not finite: {len(result.bad_gradients)}, for example ' in printed


def test_a_config_replaces_the_settings_of_the_file(stopped, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(f'model = {detector_settings({k: v for k, v in ALL_LOSSES.items() if k != "mlm_head"})!r}\n')
    with pytest.raises(RuntimeError, match='mlm_head'):
        load_tool('replay_batch').main([str(stopped[1]), '--config', str(config)])


@pytest.mark.parametrize(
    'kind',
    [
        'subprocess.check_output',
        'KnowledgeDistillationSingleStageDetector',  # opens a config, which is code
        'CameraMotionCompensation',  # evaluates an argument
    ],
)
def test_a_file_cannot_name_anything_that_runs_code(stopped, tmp_path, kind):
    plain = torch.load(stopped[1], weights_only=True)
    plain['model'] = to_plain(dict(type='GLIPv2', backbone=dict(type=kind, args=['true'])))
    torch.save(plain, tmp_path / 'hostile.pth')
    with pytest.raises(ValueError, match=f"asks for a component '{kind}'"):
        load_tool('replay_batch').main([str(tmp_path / 'hostile.pth')])


def test_another_file_is_refused(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'epoch_1.pth')
    with pytest.raises(ValueError, match=r'is no file of a stopped step\. Expected iter_N_rank_R\.pth'):
        load_step(tmp_path / 'epoch_1.pth')


def test_a_sample_comes_back_as_it_was():
    sample = DetDataSample(
        metainfo=dict(
            img_id=np.int64(3),
            prompt=prompt_from_classes(['cat', 'red car']),
            scale_factor=(0.5, 1.25),
            flip=True,
            tokens_positive=[[(0, 3)], []],
            answer_scores=np.array([0.5, 0.0], dtype=np.float32),
            nothing=None,
            shape=torch.Size((3, 4)),
            counts={1: 'a', (2, 3): [b'x']},
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.tensor([[0.0, 1.0, 2.0, 3.0]])),
        labels=torch.tensor([1]),
        masks=PolygonMasks([[np.array([0.0, 0.0, 2.0, 0.0, 2.0, 2.0])]], 4, 5),
    )
    sample.ignored_instances = InstanceData(masks=BitmapMasks(np.ones((1, 4, 5), np.uint8), 4, 5))
    back = from_plain(to_plain(sample))
    for key in ('img_id', 'prompt', 'scale_factor', 'flip', 'tokens_positive', 'nothing', 'shape'):
        assert back.metainfo[key] == sample.metainfo[key], key
    assert type(back.scale_factor) is tuple and type(back.img_id) is int
    assert np.array_equal(back.answer_scores, sample.answer_scores) and back.answer_scores.dtype == np.float32
    assert back.counts == {1: 'a', (2, 3): ["bytes: b'x'"]}  # what no plain value is becomes a description
    assert torch.equal(back.gt_instances.bboxes.tensor, sample.gt_instances.bboxes.tensor)
    assert np.array_equal(back.gt_instances.masks.masks[0][0], sample.gt_instances.masks.masks[0][0])
    assert back.gt_instances.masks.width == 5 and back.ignored_instances.masks.masks.shape == (1, 4, 5)


def test_a_view_is_saved_without_the_memory_it_looks_into():
    assert to_plain(torch.zeros(1000)[:2]).untyped_storage().nbytes() == 8


def test_random_numbers_go_on_from_where_they_were():
    import random

    state = RandomState.now()
    drawn = [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()]
    state.restore()
    assert [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()] == drawn
