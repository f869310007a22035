"""The detector with a mask head: masks beside boxes, and a second stage in which nothing else moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from pycocotools import mask as coco_mask

from tests.test_models.nano import ALL_BUT_THE_MASK_HEAD, build_detector, build_mask_detector, data_sample
from tests.test_models.test_glipv2 import MANY, chunks_of, predict


@pytest.fixture(scope='module')
def detector():
    return build_mask_detector(max_per_img=20)


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(2, 3, 64, 64)


def with_masks(sample, empty=()):
    """Bitmaps that fill the boxes, but those in ``empty``."""
    masks = np.zeros((len(sample.gt_instances), *sample.img_shape), dtype=np.uint8)
    for k, (x1, y1, x2, y2) in enumerate(sample.gt_instances.bboxes.int().tolist()):
        masks[k, y1 : y2 + 1, x1 : x2 + 1] = k not in empty
    sample.gt_instances.masks = BitmapMasks(masks, *sample.img_shape)
    return sample


def samples() -> list:
    return [
        with_masks(data_sample(('cat', 'red car'), boxes=[[4, 6, 50, 58]], labels=[1])),
        with_masks(data_sample(('tree',), boxes=[[10, 10, 40, 30], [2, 2, 60, 60]], labels=[0, 0])),
    ]


def test_training_the_whole_network_has_both_losses_and_reaches_every_parameter(images):
    detector = build_mask_detector().train()
    losses = detector.loss(images, samples())
    assert sorted(losses) == ['loss_bbox', 'loss_centerness', 'loss_cls', 'loss_mask']
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, parameter in detector.named_parameters() if parameter.grad is None] == []


def test_boxes_of_the_head_itself_are_trained_on(images, monkeypatch):
    detector = build_mask_detector().train()
    seen = []
    forward = detector.mask_head.forward

    def spy(levels, words, boxes, word_maps):
        seen.extend(boxes)
        return forward(levels, words, boxes, word_maps)

    monkeypatch.setattr(detector.mask_head, 'forward', spy)
    detector.loss(images, samples())
    assert len(seen) == 2
    # the second image has a box as large as the picture, which random predictions overlap
    assert len(seen[1]) > 2 and seen[1][0].tolist() == [10, 10, 41, 31]


def test_second_stage_moves_the_mask_head_and_nothing_else_bit_by_bit(images):
    detector = build_mask_detector(frozen_parts=ALL_BUT_THE_MASK_HEAD).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(2):
        losses = detector.loss(images, samples())
        assert list(losses) == ['loss_mask']
        optimizer.zero_grad()
        losses['loss_mask'].backward()
        optimizer.step()
    moved = {name for name, value in detector.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f'mask_head.{name}' for name, _ in detector.mask_head.named_parameters()}
    assert all(
        (parameter.grad is not None) == name.startswith('mask_head.') for name, parameter in detector.named_parameters()
    )


def test_frozen_parts_are_in_eval_mode_and_keep_no_graph(images):
    detector = build_mask_detector(frozen_parts=ALL_BUT_THE_MASK_HEAD).train()
    assert {name for name, part in detector.named_children() if part.training} == {'mask_head', 'data_preprocessor'}
    assert not any(module.training for name in ALL_BUT_THE_MASK_HEAD for module in getattr(detector, name).modules())
    seen = []
    detector.fusion.register_forward_hook(lambda module, inputs, fused: seen.append(fused))
    detector.loss(images, samples())
    assert not any(tensor.requires_grad for tensor in (*seen[0].levels, seen[0].words))
    assert not detector.eval().mask_head.training


def test_unknown_frozen_part_lists_the_parts():
    with pytest.raises(ValueError, match=r'names "necks", which is no part .* backbone, language_model, neck, fusion'):
        build_mask_detector(frozen_parts=('backbone', 'necks'))


def test_batch_without_masks_or_boxes_still_reaches_the_mask_head(images):
    detector = build_mask_detector(frozen_parts=ALL_BUT_THE_MASK_HEAD).train()
    unusable = with_masks(data_sample(('tree',), boxes=[[10, 10, 40, 30]], labels=[0]), empty=(0,))
    loss = detector.loss(images, [data_sample(('cat', 'dog')), unusable])['loss_mask']
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is not None for parameter in detector.mask_head.parameters())


def test_boxes_without_masks_name_the_image_and_the_step_that_is_missing(images, detector):
    sample = data_sample(('tree',), boxes=[[10, 10, 40, 30]], labels=[0])
    with pytest.raises(ValueError, match=r'Image "photo.jpg" has 1 boxes and no masks; .* Put LoadMasks after'):
        detector.loss(images[:1], [sample])


def test_masks_have_the_size_of_the_original_picture(detector, images):
    sample = data_sample(('cat', 'red car'))
    sample.set_metainfo(dict(ori_shape=(32, 16), scale_factor=(4.0, 2.0)))
    (found,) = predict(detector, images[:1], sample)
    assert len(found) > 0 and found.masks.shape == (len(found), 32, 16) and found.masks.dtype == torch.bool
    with torch.no_grad():
        (unscaled,) = detector.predict(images[:1], [sample], rescale=False)
    assert unscaled.pred_instances.masks.shape == (len(unscaled.pred_instances), 64, 64)


def test_masks_stay_inside_their_boxes(detector, images):
    (found,) = predict(detector, images[:1], data_sample(('cat', 'red car')))
    assert found.masks.any()
    for mask, (x1, y1, x2, y2) in zip(found.masks, found.bboxes.tolist(), strict=True):
        rows, columns = mask.nonzero().unbind(1)
        if len(rows):
            # a pixel is covered as far as its centre reaches, one pixel further at most
            assert columns.min() >= x1 - 1 and columns.max() <= x2 and rows.min() >= y1 - 1 and rows.max() <= y2


def test_batched_masks_equal_single_ones(detector, images):
    pair = [data_sample(('cat', 'red car')), data_sample('a dog near two old trees', tokens_positive=[[[0, 5]]])]
    batched = predict(detector, images, *pair)
    for i in range(2):
        (single,) = predict(detector, images[i : i + 1], pair[i].new())
        assert batched[i].masks.shape == single.masks.shape
        # a logit within rounding of the threshold may fall on the other side
        assert float((batched[i].masks != single.masks).float().mean()) < 1e-3


def test_masks_of_a_long_class_list_are_those_of_each_prompt_alone(images):
    detector = build_mask_detector()
    chunks = chunks_of(detector, MANY)
    assert len(chunks) >= 2
    (merged,) = predict(detector, images[:1], data_sample(MANY))
    checked = 0
    for chunk in chunks:
        (alone,) = predict(detector, images[:1], data_sample(chunk))
        for row, name in enumerate(alone.label_names[:40]):
            same = (merged.labels == MANY.index(name)) & ((merged.bboxes - alone.bboxes[row]).abs().amax(dim=1) < 0.01)
            assert same.sum() == 1
            assert float((merged.masks[same][0] != alone.masks[row]).float().mean()) < 1e-3
            checked += 1
    assert checked >= 2


def test_no_detections_give_empty_masks(images):
    detector = build_mask_detector(score_thr=1.0)
    (found,) = predict(detector, images[:1], data_sample(('cat',)))
    assert len(found) == 0 and found.masks.shape == (0, 64, 64)


def test_run_lengths_are_the_bitmaps(images):
    (bitmaps,) = predict(build_mask_detector(max_per_img=5), images[:1], data_sample(('cat',)))
    (encoded,) = predict(build_mask_detector(max_per_img=5, rle_masks=True), images[:1], data_sample(('cat',)))
    decoded = np.stack([coco_mask.decode(rle) for rle in encoded.masks]).astype(bool)
    assert np.array_equal(decoded, bitmaps.masks.numpy())


def test_boxes_are_those_of_the_detector_without_a_mask_head(images):
    plain = build_detector()
    masked = build_mask_detector()
    masked.load_state_dict(plain.state_dict(), strict=False)
    (without,) = predict(plain, images[:1], data_sample(('cat', 'red car')))
    (found,) = predict(masked, images[:1], data_sample(('cat', 'red car')))
    assert torch.equal(without.bboxes, found.bboxes) and torch.equal(without.scores, found.scores)
    assert 'masks' not in without
