"""The same model on a CUDA device and on the CPU; skipped, with a reason, where there is no such device."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks

from glipv2_mmdet.models import TunedPrompt
from glipv2_mmdet.models.layers.deform_conv import _grid_deform_conv
from tests.reference.compare import assert_same, outputs_and_gradients
from tests.test_models import test_prompt_tuning as tuning
from tests.test_models.nano import build_detector, build_mask_detector, data_sample
from tests.test_models.test_deform_conv import random_inputs, torchvision_kernel
from tests.test_models.test_pretraining_losses import detector_with, samples

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='torch sees no CUDA device')
DEVICE = 'cuda'
TOLERANCE = dict(rtol=1e-4, atol=1e-4)


@pytest.fixture(autouse=True)
def full_precision():
    """TF32 has ten bits; these tests compare more."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        yield
        torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(2, 3, 64, 64)


def moved(detector: torch.nn.Module) -> torch.nn.Module:
    return deepcopy(detector).to(DEVICE)


def texts() -> list:
    """A class list of several prompts, and a sentence."""
    return [data_sample(tuning.MANY), data_sample('a dog near two old trees', tokens_positive=[[[0, 5]], [[15, 24]]])]


def assert_same_detections(found, expected) -> None:
    assert found.scores.device.type == DEVICE
    assert len(found) == len(expected) > 0
    torch.testing.assert_close(found.scores.cpu(), expected.scores, **TOLERANCE)
    # boxes of nearly equal scores may change places
    order, other = (torch.from_numpy(np.lexsort(x.bboxes.cpu().round(decimals=1).numpy().T)) for x in (found, expected))
    torch.testing.assert_close(found.bboxes.cpu()[order], expected.bboxes[other], rtol=1e-3, atol=0.11)
    assert sorted(found.labels.tolist()) == sorted(expected.labels.tolist())


@torch.no_grad()
def test_raw_outputs_are_those_of_the_cpu(images):
    detector = build_detector()
    on_gpu = moved(detector)(images.to(DEVICE), texts(), mode='tensor')
    on_cpu = detector(images, texts(), mode='tensor')
    for field in ('word_logits', 'box_deltas', 'centerness'):
        torch.testing.assert_close(getattr(on_gpu, field).cpu(), getattr(on_cpu, field), **TOLERANCE)


@torch.no_grad()
def test_predictions_are_those_of_the_cpu(images):
    detector = build_detector(chunked_size=3, max_per_img=20)
    found = moved(detector).predict(images.to(DEVICE), texts())
    for sample, expected in zip(found, detector.predict(images, texts()), strict=True):
        assert_same_detections(sample.pred_instances, expected.pred_instances)


def test_losses_and_gradients_are_those_of_the_cpu(images):
    detector = detector_with(inter=True, mlm=True, mask_probability=0.5)
    on_gpu, results = moved(detector), []
    for model, device in ((on_gpu, DEVICE), (detector, 'cpu')):
        torch.manual_seed(0)  # hidden words depend on the seed
        losses = model.loss(images.to(device), [sample.to(device) for sample in samples()])
        sum(losses.values()).backward()
        results.append(losses)
    for name, loss in results[1].items():
        torch.testing.assert_close(results[0][name].cpu(), loss, **TOLERANCE)
    gradients = dict(on_gpu.named_parameters())
    for name, parameter in detector.named_parameters():
        scale = parameter.grad.abs().max().clamp(min=1e-3)
        assert (gradients[name].grad.cpu() - parameter.grad).abs().max() <= 1e-3 * scale, name


def test_masks_learn_and_are_predicted(images):
    detector = build_mask_detector(max_per_img=5).to(DEVICE)
    sample = data_sample(('cat', 'red car'), boxes=[[4, 6, 50, 58]], labels=[1])
    sample.gt_instances.masks = BitmapMasks(np.ones((1, 64, 64), dtype=np.uint8), 64, 64)
    losses = detector.train().loss(images[:1].to(DEVICE), [sample.to(DEVICE)])
    assert losses['loss_mask'].device.type == DEVICE and torch.isfinite(losses['loss_mask'])
    with torch.no_grad():
        (found,) = detector.eval().predict(images[:1].to(DEVICE), [data_sample(('cat', 'red car'))])
    assert found.pred_instances.masks.shape == (5, 64, 64)
    assert found.pred_instances.masks.device.type == DEVICE


@torch.no_grad()
def test_captions_are_written_on_the_device(images):
    head = dict(type='CaptionHead', text_channels=32, vocab_size=30522)
    detector = build_detector(dict(caption_head=head), caption=dict(max_words=6, grounded=True))
    found = moved(detector).predict(images.to(DEVICE), [data_sample(), data_sample()])
    for sample, expected in zip(found, detector.predict(images, [data_sample(), data_sample()]), strict=True):
        assert sample.pred_caption.text == expected.pred_caption.text
        assert sample.pred_caption.score == pytest.approx(expected.pred_caption.score, abs=1e-3)


@torch.no_grad()
def test_a_tuned_prompt_follows_a_model_that_moves(images):
    detector = tuning.build()
    before = detector.predict(images[:1], [data_sample()])[0].pred_instances
    after = detector.to(DEVICE).predict(images[:1].to(DEVICE), [data_sample()])[0].pred_instances
    torch.testing.assert_close(after.scores.cpu(), before.scores, **TOLERANCE)
    assert isinstance(detector.prompt_tuning.tuned('fingerprint', 'base'), TunedPrompt)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision_is_finite(images, dtype):
    detector = detector_with(inter=True, mlm=True, mask_probability=0.5).to(DEVICE)
    with torch.autocast('cuda', dtype):
        losses = detector.train().loss(images.to(DEVICE), [sample.to(DEVICE) for sample in samples()])
        sum(losses.values()).backward()
        with torch.no_grad():
            found = detector.eval().predict(images.to(DEVICE), texts())
    assert all(torch.isfinite(loss) for loss in losses.values())
    for sample in found:
        assert len(sample.pred_instances) and torch.isfinite(sample.pred_instances.scores).all()
        assert torch.isfinite(sample.pred_instances.bboxes).all()


@pytest.mark.parametrize('stride', [1, 2])
def test_both_deformable_convolutions_agree(stride):
    inputs = [tensor.to(DEVICE) for tensor in random_inputs(9, 12, stride)]
    assert_same(
        outputs_and_gradients(lambda *x: _grid_deform_conv(*x, stride), inputs),
        outputs_and_gradients(lambda *x: torchvision_kernel(*x, stride), inputs),
        1e-4,
    )
