"""GLIPv2: images and prompts in, grounded boxes (and masks, and answers) out. The whole flow on one screen."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, OptSampleList, SampleList
from mmdet.structures.bbox import get_box_tensor
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from glipv2_mmdet.checkpoints import check_fits
from glipv2_mmdet.models.detectors.question_samples import answer_targets, is_question, one_question_each
from glipv2_mmdet.structures import Candidates, FusedFeatures, GroundingOutputs, PromptFeatures, TextFeatures
from glipv2_mmdet.text import (
    Prompt,
    PromptChunk,
    PromptError,
    TokenizedPrompt,
    chunk_prompt,
    parse_prompt,
    phrase_token_map,
    question_prompt,
)


@MODELS.register_module()
class GLIPv2(BaseDetector):
    """Grounded vision-language detector (Zhang et al., 2022).

    Args:
        backbone: image encoder, for example ``TimmSwin``.
        language_model: text encoder, for example ``BertTextEncoder``.
        neck: pyramid over the backbone's levels, mmdet's ``FPN``.
        fusion: ``VLFusionDyHead``.
        bbox_head: ``GroundingATSSHead``.
        inter_loss: ``InterImageContrast`` adds ``loss_inter`` where the ``bbox_head`` learns; without it there is none.
        mlm_head: ``MLMHead`` hides words of training prompts and adds ``loss_mlm``; without it nothing is hidden.
        mask_head: ``HourglassMaskHead``, or None for boxes only.
        vqa_head: ``VQAHead`` reads every text that is not a class list, and has no ``prompt`` yet, as a question: it
            adds ``loss_vqa`` and answers. Boxes are found for a question where that head is ``grounded``.
        frozen_parts: names of parts that do not learn, such as ``'backbone'``: no gradient, always in eval mode. A
            frozen ``bbox_head`` has no loss. With all parts but the mask head it is GLIPv2's second stage, in
            which nothing in front of that head keeps a graph.
        train_cfg: accepted as mmdet's detectors do; nothing in it is read.
        test_cfg: settings of the heads, and ``chunked_size``: at most so many class names per prompt (-1: as many
            as the text encoder reads), ``prompts_per_batch``: how many prompts pass through fusion at once.
        data_preprocessor: mmdet's ``DetDataPreprocessor``.
        init_cfg: as in mmengine.

    Raises:
        ValueError: a name in ``frozen_parts`` that is no part of this detector.
    """

    def __init__(self, backbone: dict, language_model: dict, neck: dict, fusion: dict, bbox_head: dict,
                 mask_head: dict | None = None, inter_loss: dict | None = None, mlm_head: dict | None = None,
                 vqa_head: dict | None = None, frozen_parts: Sequence[str] = (), train_cfg: dict | None = None,
                 test_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.test_cfg = ConfigDict(test_cfg or {})
        self.backbone = MODELS.build(backbone)
        self.language_model = MODELS.build(language_model)
        self.neck = MODELS.build(neck)
        self.fusion = MODELS.build(fusion)
        self.bbox_head = MODELS.build({**bbox_head, 'test_cfg': self.test_cfg})
        self.mask_head = MODELS.build({**mask_head, 'test_cfg': self.test_cfg}) if mask_head else None
        self.inter_loss = MODELS.build(inter_loss) if inter_loss else None
        self.mlm_head = MODELS.build(mlm_head) if mlm_head else None
        self.vqa_head = MODELS.build({**vqa_head, 'test_cfg': self.test_cfg}) if vqa_head else None
        self.frozen_parts = tuple(frozen_parts)
        self._freeze()

    def train(self, mode: bool = True) -> GLIPv2:
        """Training mode for the parts that learn; frozen ones stay in eval mode (no dropout, no drop path)."""
        super().train(mode)
        for name in self.frozen_parts:
            getattr(self, name).eval()
        return self

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) to pyramid levels (B, C, H_l, W_l), fine to coarse, before fusion."""
        return self.neck(self.backbone(batch_inputs))

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Training losses of the heads that learn.

        Args:
            batch_inputs: (B, 3, H, W).
            batch_data_samples: each with ``prompt`` in its meta information (``BuildPrompt`` puts it there) or a
                class list in ``text``, and ground truth whose labels count the prompt's phrases; with a mask head,
                ``masks`` too (``LoadMasks`` makes them). With a VQA head instead a question in ``text``
                with ``answer_scores`` (V,), or all ``questions`` of the image with a row of scores each; boxes are read
                only by parts that learn from them.
        """
        images, batch_data_samples = one_question_each(batch_data_samples)
        prompts = [sample.get('prompt', None) or self._prompt(sample) for sample in batch_data_samples]
        labels = [_checked_labels(prompt, sample) for prompt, sample in zip(prompts, batch_data_samples, strict=True)]
        tokenized = [self.language_model.tokenizer(prompt) for prompt in prompts]
        masked = None if self.mlm_head is None else self.mlm_head.mask(
            tokenized, labels, self.language_model.tokenizer).to(batch_inputs.device)
        # one encoding serves all losses; equal prompts hide different words, so with masking each image has its own
        text = self.language_model.encode(prompts) if masked is None else self.language_model(masked.tokens)
        levels = _take(self.extract_feat(batch_inputs), images)
        needs_boxes = 'bbox_head' not in self.frozen_parts or self.mask_head is not None
        fused = self.fusion(levels, text, words_only=not needs_boxes)

        losses = {}
        if self.mlm_head is not None:
            losses['loss_mlm'] = self.mlm_head.loss(fused.text.hidden, masked, self.language_model.word_embeddings)
        if self.vqa_head is not None:
            losses['loss_vqa'] = self._answer_loss(fused.text, batch_data_samples)
        if not needs_boxes:
            return losses

        outputs = self.bbox_head(fused)
        boxes = [get_box_tensor(sample.gt_instances.bboxes) for sample in batch_data_samples]
        positive_maps = [
            phrase_token_map(item, text.mask.shape[1])[box_labels].to(batch_inputs.device)
            for item, box_labels in zip(tokenized, labels, strict=True)]
        if 'bbox_head' not in self.frozen_parts:
            targets = self.bbox_head.assign(outputs, boxes, positive_maps)
            losses |= self.bbox_head.loss(outputs, targets, text.padding_aware_mask)
            if self.inter_loss is not None:
                losses['loss_inter'] = self.inter_loss(levels, text, targets, tokenized, labels)
        if self.mask_head is not None:
            proposals = self._proposals(outputs, tokenized, batch_data_samples)
            masks = [_training_masks(sample) for sample in batch_data_samples]
            losses |= self.mask_head.loss(fused, proposals, boxes, masks, positive_maps)
        return losses

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """Detections for every prompt of every image, in ``pred_instances``; with a mask head, with ``masks``.

        With a VQA head, the answers to a question are in ``pred_answers``
        (:class:`~glipv2_mmdet.structures.Answers`); only a grounded one has boxes, too.

        Long class lists are split into prompts that the text encoder can read, for any batch size; the image is
        encoded once for all of them.

        Args:
            batch_inputs: (B, 3, H, W).
            batch_data_samples: each with ``text`` (class names, "a . b" or a caption) and, optionally,
                ``custom_entities``, ``tokens_positive``, ``caption_prompt`` as in mmdet's GLIP.
            rescale: boxes and masks in original pixels; otherwise in pixels of the network input.
        """
        prompts = [self._prompt(sample) for sample in batch_data_samples]
        levels = self.extract_feat(batch_inputs)
        if self.vqa_head is not None and not self.vqa_head.grounded:
            self._answer(self.fusion(levels, self.language_model.encode(prompts), words_only=True), batch_data_samples)
            return batch_data_samples
        chunks = [self._chunk(prompt, sample) for prompt, sample in zip(prompts, batch_data_samples, strict=True)]
        candidates, features = self._candidates(levels, chunks, batch_data_samples)
        for sample, prompt, sample_chunks, sample_candidates, sample_features in zip(
                batch_data_samples, prompts, chunks, candidates, features, strict=True):
            scale_factor = sample.scale_factor if rescale else None
            sample.pred_instances = self.bbox_head.detections(
                sample_candidates, [chunk.phrase_ids for chunk in sample_chunks], scale_factor)
            if self.mask_head is not None:
                sample.pred_instances.masks = self.mask_head.predict(
                    sample_features, sample.pred_instances, scale_factor,
                    sample.ori_shape if rescale else sample.img_shape)
            _name_phrases(sample.pred_instances, prompt)
        return batch_data_samples

    def _forward(self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None) -> GroundingOutputs:
        """Raw head outputs for one prompt per image, without decoding."""
        prompts = [self._prompt(sample) for sample in batch_data_samples]
        fused = self.fusion(self.extract_feat(batch_inputs), self.language_model.encode(prompts))
        return self.bbox_head(fused)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        # mmengine loads what fits and only warns about the rest: a wrong file would train or predict from noise
        check_fits(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _candidates(self, levels: Sequence[Tensor], chunks: Sequence[Sequence[PromptChunk]],
                    samples: SampleList) -> tuple[list[list[Candidates]], list[list[PromptFeatures]]]:
        """Candidates per image and chunk; all (image, chunk) pairs pass through fusion in batches.

        With a mask head also the fused features of each pair: a mask has to be read where its box was found. They
        are kept for all chunks (23 MB each for 800 x 1333 pixels in float32), since which of them win is only
        known after suppression, and fusing twice would cost more than the memory.
        """
        pairs = [(image, chunk) for image, image_chunks in enumerate(chunks) for chunk in image_chunks]
        batch_size = max(len(samples), self.test_cfg.get('prompts_per_batch', 8))
        candidates: list[list[Candidates]] = [[] for _ in samples]
        features: list[list[PromptFeatures]] = [[] for _ in samples]
        for start in range(0, len(pairs), batch_size):
            images, batch_chunks = zip(*pairs[start:start + batch_size], strict=True)
            text = self.language_model.encode([chunk.prompt for chunk in batch_chunks])
            fused = self.fusion(_take(levels, images), text)
            self._answer(fused, [samples[image] for image in images])
            phrase_maps = [
                self._phrase_map(chunk.prompt, text.mask.shape[1]).to(text.mask.device) for chunk in batch_chunks]
            results = self.bbox_head.candidates(
                self.bbox_head(fused), phrase_maps, [samples[image].img_shape for image in images])
            for row, (image, result) in enumerate(zip(images, results, strict=True)):
                candidates[image].append(result)
                if self.mask_head is not None:
                    features[image].append(_features_of(fused, row, phrase_maps[row], batch_chunks[row]))
        return candidates, features

    def _prompt(self, sample: DetDataSample) -> Prompt:
        if self.vqa_head is None or not is_question(sample):
            return _inference_prompt(sample)
        token = self.language_model.tokenizer.answer_token if self.vqa_head.grounded else None
        return question_prompt(sample.text, token, sample.get('tokens_positive', None))

    def _answer_loss(self, text: TextFeatures, samples: SampleList) -> Tensor:
        """L_vqa over the questions of the batch; zero for a batch without any, with a graph, since other ranks wait."""
        rows = [row for row, sample in enumerate(samples) if is_question(sample)]
        if not rows:
            return 0 * self.vqa_head(text).sum()
        targets = answer_targets([samples[row] for row in rows], text.hidden.device)
        return self.vqa_head.loss(text if len(rows) == len(samples) else text.select(rows), targets)

    def _answer(self, fused: FusedFeatures, samples: SampleList) -> None:
        """Put ``pred_answers`` into the samples that ask something."""
        rows = [row for row, sample in enumerate(samples) if is_question(sample)]
        if self.vqa_head is not None and rows:
            for row, answers in zip(rows, self.vqa_head.predict(fused.text.select(rows)), strict=True):
                samples[row].pred_answers = answers

    @torch.no_grad()
    def _proposals(self, outputs: GroundingOutputs, tokenized: Sequence[TokenizedPrompt],
                   samples: SampleList) -> list[Tensor]:
        """Per image (P, 4) boxes that the bounding box head would return now, xyxy edges in input pixels."""
        words = outputs.word_logits
        phrase_maps = [phrase_token_map(item, words.shape[2]).to(words.device) for item in tokenized]
        candidates = self.bbox_head.candidates(outputs, phrase_maps, [sample.img_shape for sample in samples])
        return [self.bbox_head.detections([found], [range(len(phrase_map))], None).bboxes
                for found, phrase_map in zip(candidates, phrase_maps, strict=True)]

    def _freeze(self) -> None:
        unknown = [name for name in self.frozen_parts if name not in self._modules]
        if unknown:
            raise ValueError(
                f'frozen_parts names "{unknown[0]}", which is no part of this detector. Expected names among '
                f'{", ".join(name for name, part in self.named_children() if part is not None)}.')
        for name in self.frozen_parts:
            getattr(self, name).requires_grad_(False)
        if self.vqa_head is not None and not self.vqa_head.grounded and 'bbox_head' not in self.frozen_parts:
            raise ValueError("The vqa_head is not grounded, so questions come without boxes that the bbox_head could "
                             "learn from. Set frozen_parts=('bbox_head',), or vqa_head.grounded=True.")

    def _chunk(self, prompt: Prompt, sample: DetDataSample) -> list[PromptChunk]:
        return chunk_prompt(prompt, self.language_model.tokenizer, self.test_cfg.get('chunked_size', -1),
                            overrides=sample.get('caption_prompt', None))

    def _phrase_map(self, prompt: Prompt, num_words: int) -> Tensor:
        """(K, T) bool, on the host."""
        return phrase_token_map(self.language_model.tokenizer(prompt), num_words)


def _checked_labels(prompt: Prompt, sample: DetDataSample) -> list[int]:
    """The phrase of each ground-truth box, on the host."""
    labels = sample.gt_instances.labels.tolist() if 'labels' in sample.gt_instances else []
    # a negative label would silently count from the end
    unknown = [label for label in labels if not 0 <= label < len(prompt.phrases)]
    if unknown:
        raise PromptError(
            f'Label {unknown[0]} of image "{sample.get("img_path", "?")}" is not in its prompt, which has '
            f'{len(prompt.phrases)} phrases ({", ".join(prompt.names[:5])}, ...). Put BuildPrompt into the training '
            'pipeline; it makes labels and prompt agree.')
    return labels


def _training_masks(sample: DetDataSample) -> BitmapMasks:
    boxes = sample.gt_instances
    if 'masks' in boxes:
        return boxes.masks
    if len(boxes) == 0:
        return BitmapMasks([], *sample.img_shape[:2])
    raise ValueError(
        f'Image "{sample.get("img_path", "?")}" has {len(boxes)} boxes and no masks; the mask head needs one per box. '
        'Put LoadMasks after LoadAnnotations in the training pipeline, or set mask_head=None.')


def _features_of(fused: FusedFeatures, row: int, phrase_map: Tensor, chunk: PromptChunk) -> PromptFeatures:
    return PromptFeatures(
        levels=tuple(level[row:row + 1] for level in fused.levels), words=fused.words[row:row + 1],
        phrase_map=phrase_map, phrase_ids=chunk.phrase_ids)


def _inference_prompt(sample: DetDataSample) -> Prompt:
    text = sample.get('text', None)
    if text is None:
        raise PromptError(
            'GLIPv2 finds what a prompt names, and this image came without one. Pass text_prompt="cat . dog" to '
            'inference_detector (with custom_entities=True), texts="cat . dog" to DetInferencer, or set '
            'return_classes=True on the data set and list "text" in the meta_keys of PackDetInputs.')
    return parse_prompt(
        text, custom_entities=sample.get('custom_entities', False), overrides=sample.get('caption_prompt', None),
        tokens_positive=sample.get('tokens_positive', None))


def _take(levels: Sequence[Tensor], images: Sequence[int]) -> Sequence[Tensor]:
    """Levels of the given images; the same tensors when these are all images in order."""
    if list(images) == list(range(len(levels[0]))):
        return levels
    if len(set(images)) == 1:
        return [level[images[0]].expand(len(images), -1, -1, -1) for level in levels]
    rows = torch.tensor(images, device=levels[0].device)
    return [level[rows] for level in levels]


def _name_phrases(instances: InstanceData, prompt: Prompt) -> None:
    """Put the phrase of each detection where mmdet's visualizer looks for it."""
    names = prompt.names
    instances.label_names = [names[label] for label in instances.labels.tolist()]
