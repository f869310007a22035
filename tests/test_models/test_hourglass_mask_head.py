"""HourglassMaskHead: the averaged form against the dense one, batches, empty cases, errors."""

from __future__ import annotations

import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch.utils._python_dispatch import TorchDispatchMode

from glipv2_mmdet.models import HourglassMaskHead
from glipv2_mmdet.structures import PromptFeatures
from tests.reference.compare import assert_same, outputs_and_gradients
from tests.reference.mask_head import dense_match
from tests.test_models.nano import CHANNELS, TEXT_CHANNELS, fused_features

BOXES = [torch.tensor([[4.0, 6.0, 60.0, 58.0], [30.0, 8.0, 70.0, 62.0]]), torch.tensor([[10.0, 10.0, 40.0, 30.0]])]
WORD_MAPS = [
    torch.tensor([[0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0]], dtype=torch.bool),
    torch.tensor([[0, 1, 1, 0, 0, 0]], dtype=torch.bool),
]


def build_head(**settings) -> HourglassMaskHead:
    torch.manual_seed(0)
    head = HourglassMaskHead(channels=CHANNELS, text_channels=TEXT_CHANNELS, **settings)
    torch.nn.init.normal_(head.bias_lang, std=0.3)
    torch.nn.init.constant_(head.log_scale, -0.5)
    return head


def test_matching_equals_the_dense_form_with_gradients():
    head = build_head()
    features, words = torch.randn(3, CHANNELS, 14, 14), torch.randn(2, 6, TEXT_CHANNELS)
    images, word_map = torch.tensor([1, 0, 1]), torch.cat(WORD_MAPS)
    parameters = [
        head.upsample.weight,
        head.upsample.bias,
        head.text_projection.weight,
        head.text_projection.bias,
        head.log_scale,
        head.bias_lang,
    ]
    fast = outputs_and_gradients(lambda x, w: head.match(x, w, images, word_map), (features, words), parameters)
    plain = outputs_and_gradients(lambda x, w: dense_match(head, x, w, images, word_map), (features, words), parameters)
    assert_same(fast, plain)


def test_no_map_is_ever_made_per_word_and_no_features_of_mask_size():
    """The largest tensor of a forward pass is the boxes' RoI features, whatever the number of words."""

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                self.numel = max(self.numel, out.numel())
            return out

    head, fused = build_head(), fused_features((200,))
    boxes = [torch.tensor([[4.0, 6.0, 60.0, 58.0]]).expand(3, 4)]
    with torch.no_grad(), Largest() as largest:
        head(fused.levels, fused.words, boxes, [torch.rand(3, 200) > 0.5])
    assert largest.numel == 3 * CHANNELS * 14 * 14 < 3 * CHANNELS * 28 * 28 < 3 * 200 * 28 * 28


@torch.no_grad()
def test_batched_equals_single_and_padding_changes_nothing():
    head, fused = build_head(), fused_features((6, 4))
    together = head(fused.levels, fused.words, BOXES, WORD_MAPS)
    assert together.shape == (3, 28, 28)
    first = head([level[:1] for level in fused.levels], fused.words[:1], BOXES[:1], WORD_MAPS[:1])
    # the second prompt has 4 words; rows 4 and 5 of the batch are padding that holds large numbers
    second = head([level[1:] for level in fused.levels], fused.words[1:, :4], BOXES[1:], [WORD_MAPS[1][:, :4]])
    torch.testing.assert_close(together, torch.cat((first, second)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_mask_is_the_mean_of_its_words_masks():
    head, fused = build_head(), fused_features((6,))
    box = [BOXES[0][:1]]
    both = head(fused.levels, fused.words, box, [WORD_MAPS[0][:1]])
    one_by_one = [head(fused.levels, fused.words, box, [torch.arange(6)[None] == word]) for word in (1, 4)]
    torch.testing.assert_close(both, sum(one_by_one) / 2, atol=1e-5, rtol=1e-5)


def test_four_layers_of_two_scales_need_a_roi_of_16():
    head = build_head(num_scales=2, num_layers=4, mask_channels=24, roi_size=16)
    assert len(head.hourglasses) == 4 and head.reduce.out_channels == 24
    fused = fused_features((6, 4))
    assert head(fused.levels, fused.words, BOXES, WORD_MAPS).shape == (3, 32, 32)
    with pytest.raises(ValueError, match=r'A map of 14 x 14 .* Use a RoI size of 14 with 1 scale, 16 with 2'):
        build_head(num_scales=2)


def gt_masks(boxes: torch.Tensor, height: int = 64, width: int = 72) -> BitmapMasks:
    bitmaps = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
    for bitmap, (x1, y1, x2, y2) in zip(bitmaps, boxes.int().tolist(), strict=True):
        bitmap[y1:y2, x1 : (x1 + x2) // 2] = 1  # the left half of the box
    return BitmapMasks(bitmaps.numpy(), height, width)


def test_loss_reaches_every_parameter():
    head, fused = build_head(mask_channels=24), fused_features((6, 4))
    losses = head.loss(fused, [torch.zeros(0, 4)] * 2, BOXES, [gt_masks(boxes) for boxes in BOXES], WORD_MAPS)
    assert list(losses) == ['loss_mask'] and losses['loss_mask'].item() > 0
    losses['loss_mask'].backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_images_without_boxes_cost_nothing_and_reach_every_parameter():
    head, fused = build_head(), fused_features((6, 4))
    none = [torch.zeros(0, 4)] * 2
    loss = head.loss(
        fused, BOXES, none, [gt_masks(boxes) for boxes in none], [torch.zeros(0, 6, dtype=torch.bool)] * 2
    )['loss_mask']
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_a_few_steps_learn_the_left_half():
    head, fused = build_head(init_log_scale=-2.0), fused_features((6, 4))
    masks = [gt_masks(boxes) for boxes in BOXES]
    optimizer = torch.optim.AdamW(head.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        loss = head.loss(fused, BOXES, BOXES, masks, WORD_MAPS)['loss_mask']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def prompts(fused) -> list[PromptFeatures]:
    """One image seen with two prompts: classes 0 and 2 in the first, 1 in the second."""
    ids, maps = ((0, 2), (1,)), (WORD_MAPS[0], WORD_MAPS[1])
    return [
        PromptFeatures(
            tuple(level[row : row + 1] for level in fused.levels), fused.words[row : row + 1], maps[row], ids[row]
        )
        for row in range(2)
    ]


@torch.no_grad()
def test_each_box_reads_the_prompt_its_phrase_was_in():
    head, fused = build_head(), fused_features((6, 4))
    boxes = torch.cat(BOXES)
    found = InstanceData(bboxes=boxes, labels=torch.tensor([1, 0, 2]), scores=torch.ones(3))
    masks = head.predict(prompts(fused), found, None, (64, 72))
    assert masks.shape == (3, 64, 72) and masks.dtype == torch.bool
    for row, (prompt, phrase) in enumerate(((1, 0), (0, 0), (0, 1))):
        features = prompts(fused)[prompt]
        logits = head(features.levels, features.words, [boxes[row : row + 1]], [features.phrase_map[phrase][None]])
        alone = head.predict([features], found[row : row + 1], None, (64, 72))
        assert torch.equal(masks[row], alone[0])
        assert bool(masks[row].any()) == bool((logits > 0).any())


@torch.no_grad()
def test_boxes_of_the_original_picture_read_the_scaled_features():
    head, fused = build_head(), fused_features((6, 4))
    boxes = torch.cat(BOXES)
    labels = torch.tensor([0, 2, 1])
    same = head.predict(prompts(fused), InstanceData(bboxes=boxes, labels=labels), None, (64, 72))
    halved = head.predict(prompts(fused), InstanceData(bboxes=boxes / 2, labels=labels), (2.0, 2.0), (32, 36))
    # a pixel of the small picture looks at the middle of four of the large one: edges differ, areas hardly
    assert same.any() and halved.shape == (3, 32, 36)
    large = same.float().unflatten(1, (32, 2)).unflatten(3, (36, 2)).mean(dim=(2, 4)) >= 0.5
    assert float((large != halved).float().mean()) < 0.02


@torch.no_grad()
@pytest.mark.parametrize('rle_masks', [False, True])
def test_no_detections_give_no_masks_of_the_right_shape(rle_masks):
    head, fused = build_head(test_cfg=dict(rle_masks=rle_masks)), fused_features((6, 4))
    found = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    masks = head.predict(prompts(fused), found, (2.0, 2.0), (48, 50))
    assert masks == [] if rle_masks else masks.shape == (0, 48, 50)


@torch.no_grad()
def test_threshold_is_a_setting():
    found = InstanceData(bboxes=BOXES[1], labels=torch.tensor([1]))
    fused = fused_features((6, 4))
    logits = build_head()(fused.levels, fused.words, [BOXES[0][:0], BOXES[1]], [WORD_MAPS[0][:0], WORD_MAPS[1]])
    areas = []
    for threshold in (0.0, float(logits.sigmoid().median()), 1.1):
        head = build_head(test_cfg=dict(mask_thr_binary=threshold))
        areas.append(int(head.predict(prompts(fused), found, None, (64, 72)).sum()))
    # everything around the box, part of it, nothing
    assert areas[0] >= 30 * 20 > areas[1] > areas[2] == 0
