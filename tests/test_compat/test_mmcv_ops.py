"""The stand-in for mmcv's compiled operations, called the way mmcv.ops calls it, against plain forms."""

import importlib.util
import json
import math
import sys
from types import ModuleType

import mmcv.ops
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.ops as tv
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack
from mmcv.ops.modulated_deform_conv import modulated_deform_conv2d
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from mmcv.ops.roi_align import roi_align
from torch.autograd import gradcheck

from glipv2_mmdet.compat.mmcv_ops import EXT_NAME, MissingOpError, provide_mmcv_ops

stand_in_only = pytest.mark.skipif(not provide_mmcv_ops(), reason='mmcv has its own compiled operations')


def iou(a, b, offset=0):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def plain_nms(boxes, scores, threshold, offset):
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[index], boxes[other], offset) <= threshold for other in kept):
            kept.append(index)
    return kept


def random_boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 30
    size = torch.rand(count, 2, generator=generator) * 20 + 1
    return torch.cat([corner, corner + size], dim=1), torch.rand(count, generator=generator)


@pytest.mark.parametrize('offset', [0, 1])
def test_nms_keeps_the_boxes_of_the_plain_form(offset):
    boxes, scores = random_boxes(60)
    dets, kept = mmcv.ops.nms(boxes, scores, 0.3, offset=offset)
    assert kept.tolist() == plain_nms(boxes.tolist(), scores.tolist(), 0.3, offset)
    assert torch.equal(dets, torch.cat([boxes[kept], scores[kept, None]], dim=1))


def test_nms_offset_counts_the_last_pixel():
    # IoU of the two boxes: 2 / 6 without, 6 / 12 with the last pixel
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]])
    scores = torch.tensor([0.9, 0.8])
    assert mmcv.ops.nms(boxes, scores, 0.4, offset=0)[1].tolist() == [0, 1]
    assert mmcv.ops.nms(boxes, scores, 0.4, offset=1)[1].tolist() == [0]


def test_nms_without_boxes_keeps_nothing():
    dets, kept = mmcv.ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5) and kept.tolist() == []


def test_nms_filters_by_score_and_stops_at_max_num():
    boxes = torch.tensor([[0.0, 0, 1, 1], [5, 0, 6, 1], [10, 0, 11, 1], [15, 0, 16, 1]])
    scores = torch.tensor([0.2, 0.9, 0.05, 0.5])
    assert mmcv.ops.nms(boxes, scores, 0.5, score_threshold=0.1, max_num=2)[1].tolist() == [1, 3]


def test_batched_nms_works_class_by_class():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 9]])
    scores = torch.tensor([0.7, 0.8, 0.9])
    classes = torch.tensor([0, 1, 1])
    dets, kept = mmcv.ops.batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.5))
    assert kept.tolist() == [2, 0]
    assert torch.equal(dets[:, 4], torch.tensor([0.9, 0.7]))


# box 1 overlaps box 0 with IoU 1/3 (2 of 6), box 2 touches nothing
SOFT_BOXES = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [8, 8, 9, 9]], dtype=np.float32)
SOFT_SCORES = np.array([0.9, 0.6, 0.5], dtype=np.float32)


@pytest.mark.parametrize(
    ('method', 'order', 'scores'),
    [
        ('naive', [0, 2], [0.9, 0.5]),
        ('linear', [0, 2, 1], [0.9, 0.5, 0.6 * 2 / 3]),
        ('gaussian', [0, 2, 1], [0.9, 0.5, 0.6 * np.exp(-(1 / 9) / 0.5)]),
    ],
)
def test_soft_nms_lowers_scores_by_hand(method, order, scores):
    dets, kept = mmcv.ops.soft_nms(SOFT_BOXES, SOFT_SCORES, iou_threshold=0.3, sigma=0.5, method=method)
    assert kept.tolist() == order
    np.testing.assert_allclose(dets[:, 4], scores, rtol=1e-6)
    np.testing.assert_array_equal(dets[:, :4], SOFT_BOXES[order])


def test_soft_nms_drops_what_falls_below_the_minimum():
    kept = mmcv.ops.soft_nms(SOFT_BOXES, SOFT_SCORES, iou_threshold=0.3, min_score=0.45, method='linear')[1]
    assert kept.tolist() == [0, 2]


def test_nms_match_groups_each_kept_box_with_those_it_suppresses():
    boxes = [
        [0, 0, 10, 10, 0.5],
        [0, 0, 10, 9, 0.9],
        [20, 20, 30, 30, 0.6],
        [0, 0, 10, 5, 0.7],  # IoU 5 / 9 with the best
        [20, 20, 30, 25, 0.4],  # IoU exactly 1 / 2, which is enough
        [50, 50, 50, 50, 0.3],  # without area
    ]
    dets = torch.tensor(boxes)
    groups = mmcv.ops.nms_match(dets, 0.5)
    assert [group.tolist() for group in groups] == [[1, 3, 0], [2, 4], [5]]
    assert [group.tolist() for group in mmcv.ops.nms_match(dets.numpy(), 0.95)] == [[1], [3], [2], [0], [4], [5]]
    assert mmcv.ops.nms_match(torch.zeros(0, 5), 0.5) == []


@pytest.mark.parametrize('offset', [0, 1])
def test_bbox_overlaps_matches_the_plain_form(offset):
    first, second = random_boxes(4)[0], random_boxes(5, seed=1)[0]
    expected = torch.tensor([[iou(a, b, offset) for b in second.tolist()] for a in first.tolist()])
    torch.testing.assert_close(mmcv.ops.bbox_overlaps(first, second, offset=offset), expected)
    aligned = mmcv.ops.bbox_overlaps(first, second[:4], aligned=True, offset=offset)
    torch.testing.assert_close(aligned, expected[:, :4].diagonal())


def test_bbox_overlaps_of_the_first_box_only():
    share = mmcv.ops.bbox_overlaps(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 5, 5]]), mode='iof')
    assert share.tolist() == [[0.5]]


def test_roi_align_averages_a_ramp():
    # on the ramp x + 10 y the mean over a box is the value at its centre
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing='ij')
    rois = torch.tensor([[0.0, 2, 2, 6, 6]])
    out = roi_align((x + 10 * y)[None, None], rois, (1, 1), 1.0, 2, 'avg', True)
    torch.testing.assert_close(out.flatten(), torch.tensor([3.5 + 35.0]))


@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_equals_torchvision_with_gradient(aligned):
    features = torch.randn(2, 3, 10, 12, requires_grad=True)
    rois = torch.tensor([[0.0, 1, 1, 17, 15], [1.0, 4, 2, 9, 19], [1.0, 0, 0, 23, 19]])
    upstream = torch.randn(3, 3, 7, 5)
    ours = roi_align(features, rois, (7, 5), 0.5, 0, 'avg', aligned)
    theirs = tv.roi_align(features, rois, (7, 5), 0.5, 0, aligned)
    assert torch.equal(ours, theirs)
    (ours_grad,) = torch.autograd.grad(ours, features, upstream)
    (theirs_grad,) = torch.autograd.grad(theirs, features, upstream)
    torch.testing.assert_close(ours_grad, theirs_grad)


def test_roi_align_gradient_is_that_of_the_function():
    features = torch.randn(1, 2, 5, 6, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[0.0, 0.3, 0.2, 4.1, 3.7]], dtype=torch.double)
    assert gradcheck(lambda x: roi_align(x, rois, (2, 3), 1.0, 2, 'avg', True), (features,))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_roi_align_takes_the_types_of_mixed_precision_forward_and_backward(dtype):
    features = torch.arange(32.0).view(1, 2, 4, 4)
    rois, low, full = (
        torch.tensor([[0.0, 0.5, 0.5, 3.0, 3.5]]),
        *(features.to(x).requires_grad_() for x in (dtype, torch.float32)),
    )
    for x in (low, full):
        roi_align(x, rois, (2, 2), 1.0, 2, 'avg', True).sum().backward()
    assert low.grad.dtype == dtype
    torch.testing.assert_close(low.grad.float(), full.grad, rtol=0.01, atol=0.01)


@stand_in_only
def test_roi_align_by_maximum_says_what_to_use():
    with pytest.raises(NotImplementedError, match="use pool_mode='avg'"):
        roi_align(torch.zeros(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 2, 2]]), (1, 1), 1.0, 0, 'max', True)


def plain_roi_pool(features, roi, size, scale):
    """mmcv's rule, written as it reads: parts rounded outwards, empty ones 0."""
    image, x1, y1, x2, y2 = roi
    start, length = (y1 * scale, x1 * scale), ((y2 + 1 - y1) * scale, (x2 + 1 - x1) * scale)
    rows = []
    for y in range(size[0]):
        row = []
        for x in range(size[1]):
            low, high = [], []
            for axis, part in enumerate((y, x)):
                limit = features.shape[2 + axis]
                low.append(min(max(math.floor(start[axis] + part * length[axis] / size[axis]), 0), limit))
                high.append(min(max(math.ceil(start[axis] + (part + 1) * length[axis] / size[axis]), 0), limit))
            part = features[int(image), :, low[0] : high[0], low[1] : high[1]]
            row.append(part.amax((1, 2)) if part.numel() else torch.zeros(features.size(1)))
        rows.append(torch.stack(row, dim=-1))
    return torch.stack(rows, dim=-2)


def test_roi_pool_takes_the_maximum_of_parts_rounded_outwards():
    features = torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    rois = [
        [0.0, 1.0, 2.0, 12.5, 11.25],
        [1.0, 3.0, 0.0, 4.0, 1.0],
        [0.0, -40.0, 4.0, 30.0, 6.0],
        [1.0, 0.0, 0.0, 17.0, 13.0],
    ]
    out = mmcv.ops.roi_pool(features, torch.tensor(rois), (2, 3), 0.5)
    assert torch.equal(out, torch.stack([plain_roi_pool(features, roi, (2, 3), 0.5) for roi in rois]))
    assert not out[2, :, :, 0].any()  # left of the map
    upstream = torch.randn_like(out)
    (gradient,) = torch.autograd.grad(out, features, upstream)
    plain = torch.stack([plain_roi_pool(features, roi, (2, 3), 0.5) for roi in rois])
    torch.testing.assert_close(gradient, torch.autograd.grad(plain, features, upstream)[0])


def test_roi_pool_equals_torchvision_on_whole_pixels():
    features = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0.0, 1, 2, 6, 7], [0.0, 0, 0, 3, 3]])
    assert torch.equal(mmcv.ops.roi_pool(features, rois, (3, 2)), tv.roi_pool(features, rois, (3, 2)))


def test_the_gradient_of_roi_pool_goes_to_the_first_of_equal_values():
    features = torch.zeros(1, 1, 2, 3, requires_grad=True)
    features.data[0, 0, 0, 2] = features.data[0, 0, 1, 0] = 1.0
    mmcv.ops.roi_pool(features, torch.tensor([[0.0, 0, 0, 2, 1]]), 1).backward(torch.tensor([[[[5.0]]]]))
    assert features.grad.tolist() == [[[[0, 0, 5.0], [0, 0, 0]]]]
    turned = torch.tensor([[0.0, 5, 5, 3, 3]])  # ends before it starts
    assert not mmcv.ops.roi_pool(features, turned, 1).any()


def deform_inputs(dtype=torch.float32, groups=1, deform_groups=1, stride=1):
    torch.manual_seed(0)
    side = (5 + stride - 1) // stride
    x = torch.randn(2, 4, 5, 5, dtype=dtype)
    offset = torch.randn(2, 18 * deform_groups, side, side, dtype=dtype) * 0.7 + 0.1
    mask = torch.rand(2, 9 * deform_groups, side, side, dtype=dtype)
    weight = torch.randn(6, 4 // groups, 3, 3, dtype=dtype)
    bias = torch.randn(6, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (x, offset, mask, weight, bias)]


def test_modulated_deform_conv_at_rest_is_a_convolution():
    x, _, _, weight, bias = deform_inputs()
    out = modulated_deform_conv2d(x, torch.zeros(2, 18, 5, 5), torch.ones(2, 9, 5, 5), weight, bias, 1, 1)
    torch.testing.assert_close(out, F.conv2d(x, weight, bias, padding=1), rtol=1e-4, atol=1e-5)


def test_modulated_deform_conv_moves_by_y_then_x():
    x = torch.arange(25.0).view(1, 1, 5, 5)
    offset = torch.zeros(1, 2, 5, 5)
    offset[:, 0] = 1  # one row down
    out = modulated_deform_conv2d(x, offset, torch.full((1, 1, 5, 5), 0.5), torch.ones(1, 1, 1, 1), None)
    torch.testing.assert_close(out[0, 0, :4], x[0, 0, 1:] / 2)
    assert not out[0, 0, 4].any()


@pytest.mark.parametrize(('stride', 'groups', 'deform_groups'), [(1, 1, 1), (2, 1, 1), (1, 2, 2)])
def test_modulated_deform_conv_equals_torchvision_with_gradients(stride, groups, deform_groups):
    inputs = deform_inputs(groups=groups, deform_groups=deform_groups, stride=stride)
    x, offset, mask, weight, bias = inputs
    ours = modulated_deform_conv2d(x, offset, mask, weight, bias, stride, 1, 1, groups, deform_groups)
    theirs = tv.deform_conv2d(x, offset, weight, bias, stride, 1, 1, mask)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    for mine, reference in zip(
        torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(theirs, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(mine, reference)


def test_modulated_deform_conv_gradients_are_those_of_the_function():
    inputs = deform_inputs(torch.double)
    assert gradcheck(lambda *args: modulated_deform_conv2d(*args, 1, 1), inputs, fast_mode=True)


def test_modulated_deform_conv_reads_a_larger_map_in_memory_order():
    x, _, _, weight, _ = deform_inputs()
    offset = torch.randn(2, 18, 7, 9)
    mask = torch.rand(2, 9, 7, 9)
    out = modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1)
    folded_offset = torch.stack([image.flatten()[: 18 * 25].view(18, 5, 5) for image in offset])
    folded_mask = torch.stack([image.flatten()[: 9 * 25].view(9, 5, 5) for image in mask])
    torch.testing.assert_close(out, tv.deform_conv2d(x, folded_offset, weight, None, 1, 1, 1, folded_mask))


@stand_in_only
def test_modulated_deform_conv_refuses_a_smaller_map():
    x, _, _, weight, _ = deform_inputs()
    with pytest.raises(ValueError, match=r'\(3, 3\) is smaller than the output \(5, 5\)'):
        modulated_deform_conv2d(x, torch.zeros(2, 18, 3, 3), torch.ones(2, 9, 3, 3), weight, None, 1, 1)


@pytest.mark.parity
@pytest.mark.parametrize(('level', 'stride'), [('mid', 1), ('low', 2), ('high', 1)])
def test_modulated_deform_conv_equals_the_compiled_kernel(shared_dir, level, stride):
    """Numbers of mmcv 2.1.0's compiled CPU kernel; 'high' is fed a map larger than its output."""
    sys.path.insert(0, str(shared_dir / 'parity'))
    try:
        from seeded_weights import seeded_state_dict
    finally:
        sys.path.pop(0)
    folder = shared_dir / 'parity' / 'ops'
    spec = json.loads((folder / 'modulated_deform_conv.json').read_text())
    stored = np.load(folder / 'modulated_deform_conv.npz')
    arrays = {key: torch.from_numpy(value) for key, value in stored.items()}
    weights = {}
    for tensors in spec['specs'].values():
        weights.update(seeded_state_dict(tensors, spec['salt']))
    x = arrays[level].clone().requires_grad_()
    steering = arrays['offset_mask'].clone().requires_grad_()
    offset, mask = steering[:, :18].contiguous(), steering[:, 18:].sigmoid()
    weight, bias = weights[f'stride{stride}.weight'], weights[f'stride{stride}.bias']
    out = modulated_deform_conv2d(x, offset, mask, weight, bias, stride, 1)
    torch.testing.assert_close(out, arrays[f'out_{level}'], rtol=1e-4, atol=1e-5)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    torch.testing.assert_close(x.grad, arrays[f'grad_input_{level}'], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(steering.grad, arrays[f'grad_offset_mask_{level}'], rtol=1e-4, atol=1e-5)


COLUMNS = [[1.0, 2.0, 3.0]] * 3
#: From mmcv's own CPU case of a fresh ModulatedDeformConv2dPack: kernel 2 x 2, padding 1, all weights 1, offsets 0.
#: 12 rows of the convolution that makes offsets (y and x of 4 taps) and masks (4 taps), each 2 x 2.
FRESH_OFFSET_WEIGHT_GRADIENT = [
    [-7.0, -4.0, 0.0, 0.0],
    [-9.0, 7.5, -6.0, 5.0],
    [-4.0, -7.0, 0.0, 0.0],
    [-7.5, -9.0, -5.0, -6.0],
    [-7.0, -4.0, -7.0, -4.0],
    [-6.0, 5.0, -9.0, 7.5],
    [-4.0, -7.0, -4.0, -7.0],
    [-5.0, -6.0, -7.5, -9.0],
    [10.5, 6.0, 7.0, 4.0],
    [6.0, 10.5, 4.0, 7.0],
    [7.0, 4.0, 10.5, 6.0],
    [4.0, 7.0, 6.0, 10.5],
]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_fresh_modulated_layer_has_the_gradients_of_mmcvs_kernel(dtype):
    layer = ModulatedDeformConv2dPack(1, 1, 2, stride=1, padding=1, bias=False).to(dtype)
    torch.nn.init.ones_(layer.weight)
    x = torch.tensor([[COLUMNS]], dtype=dtype, requires_grad=True)
    out = layer(x)
    out.sum().backward()
    edge, middle = [0.5, 1.5, 2.5, 1.5], [1.0, 3.0, 5.0, 3.0]
    assert out.tolist() == [[[edge, middle, middle, edge]]]
    assert x.grad.tolist() == [[[[2.0] * 3] * 3]]
    assert layer.weight.grad.flatten().tolist() == [9.0] * 4
    assert layer.conv_offset.weight.grad.flatten(1).tolist() == FRESH_OFFSET_WEIGHT_GRADIENT
    assert layer.conv_offset.bias.grad.tolist() == [-3.0, -1.5] * 4 + [4.5] * 4


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize('batch_size', [1, 10])
def test_an_unmodulated_layer_has_the_gradients_of_mmcvs_kernel(dtype, tolerance, batch_size):
    layer = DeformConv2dPack(1, 1, 2, im2col_step=2).to(dtype)
    offset_weight = [
        [0.1, 0.4, 0.6, 0.1],
        [0.3, 0.2, 0.1, 0.3],
        [0.5, 0.5, 0.2, 0.8],
        [0.8, 0.3, 0.9, 0.1],
        [0.3, 0.1, 0.2, 0.5],
        [0.3, 0.7, 0.5, 0.3],
        [0.6, 0.2, 0.5, 0.3],
        [0.4, 0.1, 0.8, 0.4],
    ]
    with torch.no_grad():
        layer.conv_offset.weight.copy_(torch.tensor(offset_weight).view(8, 1, 2, 2))
        layer.conv_offset.bias.copy_(torch.tensor([0.7, 0.1, 0.8, 0.5, 0.6, 0.5, 0.4, 0.7]))
        layer.weight.copy_(torch.tensor([0.4, 0.2, 0.1, 0.9]).view(1, 1, 2, 2))
    image = torch.tensor([[[1.0, 2, 3], [0, 1, 2], [3, 5, 2]]], dtype=dtype)
    x = image.repeat(batch_size, 1, 1, 1).requires_grad_()
    out = layer(x)
    out.sum().backward()

    def same(actual, expected):
        expected = torch.tensor(expected, dtype=dtype).expand_as(actual)
        torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)

    same(out, [[1.65, 0.0], [0.0, 0.0]])
    same(x.grad, [[-0.666, 0.204, 0.0], [0.03, -0.416, 0.012], [0.0, 0.252, 0.129]])
    offset_gradient = [1.44, -0.72, 0.0, 0.0, -0.1, -0.08, -0.54, -0.54]
    same(layer.conv_offset.bias.grad / batch_size, offset_gradient)
    by_pixel = [[[[value, 2 * value], [0.0, value]]] for value in offset_gradient]
    same(layer.conv_offset.weight.grad / batch_size, by_pixel)
    same(layer.weight.grad / batch_size, [[3.62, 0.0], [0.4, 0.18]])


@pytest.mark.parametrize(('shift', 'slope'), [(-1.0, 0.0), (-0.999, 1.0), (-1.001, 0.0), (2.0, 0.0), (1.999, -2.0)])
@pytest.mark.parametrize('axis', [0, 1])
def test_the_offset_gradient_at_the_border_is_that_of_mmcvs_kernel(shift, slope, axis):
    # a map of 2 x 2 that is 1 in its first and 2 in its second row (or column), sampled at one place
    x = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    x = (x if axis == 0 else x.T).contiguous()[None, None]
    offset = torch.zeros(1, 2, 2, 2)
    offset[0, axis, 0, 0] = shift
    offset.requires_grad_()
    out = modulated_deform_conv2d(x, offset, torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1), None)
    (gradient,) = torch.autograd.grad(out[0, 0, 0, 0], offset)
    torch.testing.assert_close(gradient[0, :, 0, 0], torch.tensor([slope, 0.0] if axis == 0 else [0.0, slope]))


def test_groups_strides_and_dilation_hold_the_taps_they_mean():
    # kernel 1 x 2 with stride (2, 1), padding (0, 1), dilation (1, 3), 2 groups; columns of the taps: x - 1, x + 2
    x = torch.ones(1, 2, 3, 3)
    offset = torch.zeros(1, 8, 2, 2, requires_grad=True)
    out = modulated_deform_conv2d(
        x, offset, torch.ones(1, 4, 2, 2), torch.ones(1, 2, 1, 2), None, (2, 1), (0, 1), (1, 3), 1, 2
    )
    assert out.tolist() == [[[[2.0, 2.0]] * 2]]
    (gradient,) = torch.autograd.grad(out.sum(), offset)
    # y: the last row has nothing below it; x: column 2 has nothing right of it, and columns -1 and 3 are outside
    y_first, y_second = [[0.0, 0.0], [0.0, -1.0]], [[0.0, 0.0], [-1.0, 0.0]]
    x_first, x_second = [[0.0, 0.0]] * 2, [[-1.0, 0.0]] * 2
    assert gradient[0].tolist() == [y_first, x_first, y_second, x_second] * 2


@pytest.mark.parametrize('stride', [1, 2])
def test_deform_conv_equals_torchvision_with_gradients(stride):
    x, offset, _, weight, _ = deform_inputs(stride=stride)
    ours = mmcv.ops.deform_conv2d(x, offset, weight, stride, 1)
    theirs = tv.deform_conv2d(x, offset, weight, None, stride, 1)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    for mine, reference in zip(
        torch.autograd.grad(ours, (x, offset, weight), upstream),
        torch.autograd.grad(theirs, (x, offset, weight), upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference)


def test_deform_conv_gradients_are_those_of_the_function():
    x, offset, _, weight, _ = deform_inputs(torch.double)
    assert gradcheck(lambda *args: mmcv.ops.deform_conv2d(*args, 1, 1), (x, offset, weight), fast_mode=True)


def test_sigmoid_focal_loss_by_formula():
    logits = torch.tensor([[0.0, 2.0], [-1.0, 0.5], [3.0, -2.0]])
    target = torch.tensor([1, 0, 2])  # the last is background
    loss = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    probability = logits.sigmoid()
    positive = -0.25 * (1 - probability) ** 2 * probability.log()
    negative = -0.75 * probability**2 * (1 - probability).log()
    is_positive = torch.tensor([[False, True], [True, False], [False, False]])
    torch.testing.assert_close(loss, torch.where(is_positive, positive, negative))
    mean = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'mean')
    torch.testing.assert_close(mean, loss.sum() / 3)


def test_sigmoid_focal_loss_weighs_rows_by_their_class():
    logits, target = torch.randn(3, 2), torch.tensor([1, 0, 1])
    plain = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    weighted = mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, torch.tensor([2.0, 3.0]), 'none')
    torch.testing.assert_close(weighted, plain * torch.tensor([[3.0], [2.0], [3.0]]))


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_sigmoid_focal_loss_gradient_is_that_of_the_function(reduction):
    logits = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    target = torch.tensor([0, 2, 3, 1])
    assert gradcheck(lambda x: mmcv.ops.sigmoid_focal_loss(x, target, 2.0, 0.25, None, reduction), (logits,))


def test_softmax_focal_loss_by_formula():
    logits = torch.tensor([[0.0, 2.0, 1.0], [-1.0, 0.5, 0.0], [3.0, -2.0, 1.0]])
    target = torch.tensor([1, 0, -1])  # the last has no class and no loss
    loss = mmcv.ops.softmax_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    probability = logits.softmax(1)[[0, 1], [1, 0]]
    expected = -0.25 * (1 - probability) ** 2 * probability.log()
    torch.testing.assert_close(loss, torch.cat((expected, torch.zeros(1))))
    weighted = mmcv.ops.softmax_focal_loss(logits, target, 2.0, 0.25, torch.tensor([2.0, 3.0, 5.0]), 'none')
    torch.testing.assert_close(weighted, loss * torch.tensor([3.0, 2.0, 1.0]))
    mean = mmcv.ops.softmax_focal_loss(logits, target, 2.0, 0.25, None, 'mean')
    torch.testing.assert_close(mean, loss.sum() / 3)


@pytest.mark.parametrize('weight', [None, torch.tensor([2.0, 0.5, 3.0], dtype=torch.double)])
@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_softmax_focal_loss_gradient_is_that_of_the_function(reduction, weight):
    logits = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    target = torch.tensor([0, 2, -1, 1])
    assert gradcheck(lambda x: mmcv.ops.softmax_focal_loss(x, target, 1.5, 0.25, weight, reduction), (logits,))


def test_softmax_focal_loss_of_an_impossible_class_is_finite_and_has_a_gradient():
    logits = torch.tensor([[0.0, 500.0]], requires_grad=True)
    loss = mmcv.ops.softmax_focal_loss(logits, torch.tensor([0]), 2.0, 0.25, None, 'sum')
    assert loss.item() == pytest.approx(0.25 * 87.3365, rel=1e-4)  # -log of the smallest float32
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.tolist() == [[-0.25, 0.25]]


def test_multi_scale_deformable_attention_equals_mmcvs_torch_form_with_gradients():
    torch.manual_seed(0)
    shapes = torch.tensor([[4, 5], [2, 3]])
    starts = torch.tensor([0, 20])
    inputs = [torch.randn(1, 26, 2, 3), torch.rand(1, 7, 2, 2, 2, 2), torch.rand(1, 7, 2, 2, 2)]
    value, locations, weights = inputs = [tensor.requires_grad_() for tensor in inputs]
    ours = MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)
    theirs = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    for mine, reference in zip(
        torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(theirs, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(mine, reference)


@stand_in_only
def test_any_other_operation_names_itself_and_the_fix():
    with pytest.raises(MissingOpError, match=r"'carafe_forward'.*Install a compiled mmcv"):
        mmcv.ops.carafe(torch.zeros(1, 4, 2, 2), torch.zeros(1, 9, 4, 4), 3, 1, 2)


@stand_in_only
def test_the_stand_in_is_found_like_a_real_module():
    spec = importlib.util.find_spec(EXT_NAME)
    assert spec.name == EXT_NAME and spec.loader is not None
    assert sys.modules[EXT_NAME].__spec__ is spec
    assert not hasattr(sys.modules[EXT_NAME], '__path__')
    assert 'torchvision' in mmcv.ops.get_compiler_version()


def test_a_compiled_mmcv_is_left_untouched(monkeypatch):
    compiled = ModuleType(EXT_NAME)
    monkeypatch.setitem(sys.modules, EXT_NAME, compiled)
    assert provide_mmcv_ops() is False
    assert sys.modules[EXT_NAME] is compiled
    assert not hasattr(compiled, 'nms')


def test_compiled_operations_that_do_not_load_are_an_error_with_the_fix(monkeypatch, tmp_path):
    (tmp_path / '_ext.py').write_text("raise ImportError('undefined symbol: _ZN2at')")
    monkeypatch.delitem(sys.modules, EXT_NAME)
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    with pytest.raises(ImportError, match=r'undefined symbol.*pip install mmcv-lite'):
        provide_mmcv_ops()
    assert EXT_NAME not in sys.modules
