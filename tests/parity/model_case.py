"""Runs one prompt kind of a model case and compares everything the fixture holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from glipv2_mmdet.checkpoints import Layout, to_source
from glipv2_mmdet.models.detectors import GLIPv2
from glipv2_mmdet.models.losses import centerness_target
from glipv2_mmdet.structures import GroundingTargets
from glipv2_mmdet.text import Prompt, parse_prompt, phrase_token_map
from tests.parity.compare import (
    BOXES,
    FEATURES,
    GRADIENT_NOISE,
    GRADIENT_NORM,
    GRADIENTS,
    LOSSES,
    SCORES,
    Comparison,
    relative_error,
)
from tests.parity.fixtures import Arrays, Case, read_json

#: Which IoU each of the two sets of training numbers was made with.
IOU_CALCULATORS = {'train': 'BboxOverlaps2D_GLIP', 'train_plain_iou': 'BboxOverlaps2D'}


@dataclass(frozen=True)
class Batch:
    """Inputs of one case: what the detector gets, in its own terms."""

    mode: str
    settings: dict
    inputs: Arrays
    arrays: Arrays

    @classmethod
    def read(cls, case: Case) -> Batch:
        return cls(
            case.part,
            read_json(case.folder / 'settings.json'),
            Arrays.read(case.folder, 'inputs'),
            Arrays.read(case.folder, case.part),
        )

    @cached_property
    def images(self) -> Tensor:
        return self.inputs.tensor('images_i8').float() / 32

    def __len__(self) -> int:
        return len(self.images)

    def text_of(self, image: int) -> dict:
        """The prompt of an image, as the test pipeline's meta keys state it."""
        if self.mode == 'det':
            return dict(text=tuple(self.arrays.info['text']['entities'][image]), custom_entities=True)
        caption = self.settings['captions'][image]
        return dict(text=caption['text'], tokens_positive=caption['tokens_positive'])

    def samples(self) -> list[DetDataSample]:
        """Fresh data samples with prompts and ground truth."""
        samples = []
        for image in range(len(self)):
            shape = tuple(int(side) for side in self.inputs['img_shapes'][image])
            factors = tuple(float(factor) for factor in self.inputs['scale_factors'][image])
            original = tuple(round(side / factor) for side, factor in zip(shape, factors[::-1], strict=True))
            sample = DetDataSample(
                metainfo=dict(img_shape=shape, scale_factor=factors, ori_shape=original, **self.text_of(image))
            )
            sample.gt_instances = InstanceData(
                bboxes=self.inputs.tensor(f'{self.mode}.gt_bboxes.{image}').float().reshape(-1, 4),
                labels=self.inputs.tensor(f'{self.mode}.gt_labels.{image}').long(),
            )
            samples.append(sample)
        return samples

    def prompts(self) -> list[Prompt]:
        texts = [self.text_of(image) for image in range(len(self))]
        return [parse_prompt(text.pop('text'), **text) for text in texts]


def compare_model_case(case: Case, model: GLIPv2, layout: Layout) -> Comparison:
    """All arrays of ``case``; an array of the fixture that is not compared is a failure."""
    batch = Batch.read(case)
    result = Comparison(case.name)
    run = _Run(batch, model, layout, result)
    run.compare_features()
    run.compare_predictions()
    for array in batch.arrays.unused:
        result.fail(array, 'the fixture has this array, the check does not know it')
    return result


@dataclass
class _Run:
    """The steps of one comparison; they share the batch, the model and the growing result."""

    batch: Batch
    model: GLIPv2
    layout: Layout
    result: Comparison

    def compare_features(self) -> None:
        """Forward with gradients, step by step, then losses and gradients."""
        model, arrays = self.model, self.batch.arrays
        prompts = self.batch.prompts()
        backbone = model.backbone(self.batch.images)
        pyramid = model.neck(backbone)
        text = model.language_model.encode(prompts)
        fused = model.fusion(pyramid, text)
        outputs = model.bbox_head(fused)

        self._tokens(prompts)
        for name, maps in (('backbone', backbone), ('fpn', pyramid), ('fused_visual', fused.levels)):
            for level, feature in enumerate(maps):
                self._strided(f'{name}.{level}', feature)
            self._no_more(name, len(maps))
        lengths = [int(length) for length in arrays['num_valid_tokens']]
        for name, words in (
            ('lang_embedded', text.embedded),
            ('lang_hidden', text.hidden),
            ('fused_hidden', fused.text.hidden),
        ):
            for image, length in enumerate(lengths):
                self._words(f'{name}.{image}', words[image, :length])
        for image, length in enumerate(lengths):
            self._complete(f'cls_logits.{image}', outputs.word_logits[image, :, :length])
        sizes = list(outputs.level_sizes)
        boxes, centerness = outputs.box_deltas.split(sizes, 1), outputs.centerness.split(sizes, 1)
        for level, shape in enumerate(outputs.level_shapes):
            self._complete(f'bbox_pred.{level}', boxes[level].transpose(1, 2).unflatten(2, shape))
            self._complete(f'centerness.{level}', centerness[level].unflatten(1, shape).unsqueeze(1))

        samples = self.batch.samples()
        num_words, tokenizer = text.mask.shape[1], model.language_model.tokenizer
        phrase_maps = [phrase_token_map(tokenizer(prompt), num_words) for prompt in prompts]
        positive_maps = [
            phrase_map[sample.gt_instances.labels] for phrase_map, sample in zip(phrase_maps, samples, strict=True)
        ]
        for name, calculator in IOU_CALCULATORS.items():
            if f'{name}.loss_cls' not in arrays:
                continue
            self._use_iou(calculator)
            targets = model.bbox_head.assign(outputs, [sample.gt_instances.bboxes for sample in samples], positive_maps)
            losses = model.bbox_head.loss(outputs, targets, fused.text.padding_aware_mask)
            self._losses(name, losses)
            self._assignment(name, targets, anchors=sum(sizes))
            for image, length in enumerate(lengths):
                key = f'{name}.positive_maps.{image}'
                if key in arrays:
                    self.result.equal(key, positive_maps[image][:, :length], arrays[key])
            if name == 'train':
                self._gradients(sum(losses.values()))
        self._use_iou(self.batch.settings['model']['train_cfg']['assigner']['iou_calculator']['type'])

    def compare_predictions(self) -> None:
        """Through the detector's own ``predict``, without gradients."""
        for name, cfg in self.batch.settings['predict_configs'].items():
            self.model.test_cfg = self.model.bbox_head.test_cfg = ConfigDict(cfg)
            for frame, rescale in (('raw', False), ('rescaled', True)):
                with torch.no_grad():
                    samples = self.model.predict(self.batch.images, self.batch.samples(), rescale=rescale)
                for image, sample in enumerate(samples):
                    self._instances(f'pred.{name}.{frame}', image, sample.pred_instances)

    def _use_iou(self, calculator: str) -> None:
        assigner = {**self.batch.settings['model']['train_cfg']['assigner'], 'iou_calculator': dict(type=calculator)}
        self.model.bbox_head.assigner = TASK_UTILS.build(assigner)

    def _tokens(self, prompts: list[Prompt]) -> None:
        tokenizer = self.model.language_model.tokenizer
        tokenized = [tokenizer(prompt) for prompt in prompts]
        wanted = self.batch.arrays['input_ids']
        lengths = self.batch.arrays['num_valid_tokens']
        self.result.equal('num_valid_tokens', [len(one.input_ids) for one in tokenized], lengths)
        padded = [[*one.input_ids, *[tokenizer.pad_id] * (wanted.shape[1] - len(one.input_ids))] for one in tokenized]
        self.result.equal('input_ids', padded, wanted)

    def _strided(self, key: str, feature: Tensor) -> None:
        arrays = self.batch.arrays
        info = arrays.info[key]
        if list(feature.shape) != info['shape']:
            self.result.fail(key, f'shape {tuple(feature.shape)} instead of {tuple(info["shape"])}')
            arrays.used.add(key)
            return
        feature = feature.detach()
        total = relative_error(float(feature.double().abs().sum()), info['abs_sum'])
        self.result.relative(key, feature.flatten()[:: info['stride']], arrays[key], FEATURES, also=[total])

    def _words(self, key: str, words: Tensor) -> None:
        """(tokens, channels) of one image; the layout in the description says which channels were kept."""
        arrays = self.batch.arrays
        if key not in arrays:
            return
        info = arrays.info[key]
        step = int(re.search(r'channels\[::(\d+)\]', info['layout'])[1])
        also = [relative_error(float(words.detach().double().abs().sum()), info['abs_sum'])]
        self.result.relative(key, words[:, ::step], arrays[key], FEATURES, also=also)

    def _complete(self, key: str, values: Tensor) -> None:
        if key in self.batch.arrays:
            self.result.relative(key, values, self.batch.arrays[key], FEATURES)

    def _no_more(self, name: str, count: int) -> None:
        found = self.batch.arrays.starting_with(f'{name}.')
        if len(found) != count:
            self.result.fail(f'{name}.*', f'{count} maps instead of {len(found)}')

    def _losses(self, name: str, losses: dict[str, Tensor]) -> None:
        """The losses at hand, and those of the detector's own ``loss``."""
        with torch.no_grad():
            through_detector = self.model.loss(self.batch.images, self.batch.samples())
        for key, loss in losses.items():
            want = self.batch.arrays[f'{name}.{key}']
            again = relative_error(float(through_detector[key]), float(want))
            self.result.relative(f'{name}.{key}', loss, want, LOSSES, also=[again])

    def _assignment(self, name: str, targets: GroundingTargets, anchors: int) -> None:
        arrays = self.batch.arrays
        centerness = centerness_target(targets.anchors, targets.boxes)
        image_of = torch.div(targets.positive, anchors, rounding_mode='floor')
        for image, (anchor_ids, box_ids) in enumerate(targets.assigned):
            for part, got in (('pos_inds', anchor_ids), ('pos_assigned_gt_inds', box_ids)):
                key = f'{name}.{part}.{image}'
                if key in arrays:
                    self.result.equal(key, got, arrays[key])
            key = f'{name}.centerness_targets.{image}'
            if key in arrays:
                self.result.relative(key, centerness[image_of == image], arrays[key], FEATURES)

    def _gradients(self, loss: Tensor) -> None:
        arrays = self.batch.arrays
        self.model.zero_grad()
        loss.backward(retain_graph=True)
        ours = {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for name, parameter in self.model.named_parameters()
        }
        gradients = to_source(ours, self.layout)
        total = torch.stack([gradient.double().norm() for gradient in ours.values()]).norm()
        floor = GRADIENT_NOISE * float(total)
        for key in arrays.starting_with('grad.'):
            gradient = gradients[key.removeprefix('grad.')]
            info = arrays.info[key]
            also = [relative_error(float(gradient.double().norm()), info['norm'], floor)]
            gradient = gradient.flatten()[:: info['stride']]
            self.result.relative(key, gradient, arrays[key], GRADIENTS, also=also, floor=floor)
        if 'grad_total_norm' in arrays:
            self.result.relative('grad_total_norm', total, arrays['grad_total_norm'], GRADIENT_NORM)
        self.model.zero_grad()

    def _instances(self, name: str, image: int, instances: InstanceData) -> None:
        arrays = self.batch.arrays
        for part in ('bboxes', 'scores', 'labels'):
            key = f'{name}.{part}.{image}'
            if key not in arrays:
                continue
            if part == 'labels':
                self.result.equal(key, instances.labels, arrays[key])
            else:
                self.result.absolute(key, instances[part], arrays[key], BOXES if part == 'bboxes' else SCORES)
