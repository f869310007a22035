"""GLIPv2: images and prompts in, grounded boxes (and masks) out. The whole flow on one screen."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
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
from glipv2_mmdet.models.prompt_tuning import BoundPrompts, PromptTuning, encode_prompts
from glipv2_mmdet.models.tuned_prompt import BASE_PARTS, TunedPrompt
from glipv2_mmdet.structures import Candidates, FusedFeatures, GroundingOutputs, PromptFeatures
from glipv2_mmdet.text import (
    Prompt,
    PromptChunk,
    PromptError,
    TokenizedPrompt,
    chunk_prompt,
    parse_prompt,
    phrase_token_map,
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
        frozen_parts: names of parts that do not learn, such as ``'backbone'``: no gradient, always in eval mode.
            Boxes have a loss where it teaches something. With all parts but the mask head frozen it does not: that
            is GLIPv2's second stage, in which nothing in front of that head keeps a graph.
        prompt_tuning: ``PromptTuning`` learns a residual on the encoded prompt and all other parts are frozen.
        tuned_prompt: file of a prompt that such a run has saved, see :meth:`set_prompt`.
        train_cfg: accepted as mmdet's detectors do; nothing in it is read.
        test_cfg: settings of the heads, and ``chunked_size``: at most so many class names per prompt (-1: as many
            as the text encoder reads), ``prompts_per_batch``: how many prompts pass through fusion at once.
        data_preprocessor: mmdet's ``DetDataPreprocessor``.
        init_cfg: as in mmengine.

    Raises:
        ValueError: a name in ``frozen_parts`` that is no part of this detector, or prompt tuning with a loss whose
            own layers would have to learn.
    """

    def __init__(self, backbone: dict, language_model: dict, neck: dict, fusion: dict, bbox_head: dict,
                 mask_head: dict | None = None, inter_loss: dict | None = None, mlm_head: dict | None = None,
                 frozen_parts: Sequence[str] = (), prompt_tuning: dict | None = None, tuned_prompt: str | None = None,
                 train_cfg: dict | None = None, test_cfg: dict | None = None, data_preprocessor: dict | None = None,
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
        self.prompt_tuning = self._build_prompt_tuning(prompt_tuning) if prompt_tuning else None
        self.frozen_parts = tuple(frozen_parts) if self.prompt_tuning is None else tuple(
            name for name, _ in self.named_children() if name not in ('prompt_tuning', 'data_preprocessor'))
        self._freeze()
        # whether it fits is known once the weights are there
        self.tuned_prompt = None if tuned_prompt is None else TunedPrompt.load(tuned_prompt)
        self._bound_prompts = BoundPrompts()

    def train(self, mode: bool = True) -> GLIPv2:
        """Training mode for the parts that learn; frozen ones stay in eval mode (no dropout, no drop path)."""
        super().train(mode)
        for name in self.frozen_parts:
            getattr(self, name).eval()
        return self

    def set_prompt(self, prompt: TunedPrompt | str | PathLike | None) -> None:
        """Predict with a tuned prompt from now on; None goes back to prompts as they are typed.

        Images then need no text prompt, and one that comes all the same has to name the classes of the tuned one. A
        single image is given its own by ``tuned_prompt`` in its meta information. A prompt is encoded once, so
        switching between prompts costs nothing.

        Args:
            prompt: a :class:`~glipv2_mmdet.models.TunedPrompt`, or its file.

        Raises:
            FileNotFoundError: there is no such file.
            TunedPromptError: it is no tuned prompt, or was tuned on other weights.
        """
        if prompt is not None:
            prompt = prompt if isinstance(prompt, TunedPrompt) else TunedPrompt.load(prompt)
            self._bound_prompts.bind(prompt, self)
        self.tuned_prompt = prompt

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) to pyramid levels (B, C, H_l, W_l), fine to coarse, before fusion."""
        return self.neck(self.backbone(batch_inputs))

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Training losses of the heads that learn.

        Args:
            batch_inputs: (B, 3, H, W).
            batch_data_samples: each with ``prompt`` in its meta information (``BuildPrompt`` puts it there) or a
                class list in ``text``, and ground truth whose labels count the prompt's phrases; with a mask head,
                ``masks`` too (``LoadMasks`` makes them).
        """
        if self.prompt_tuning is not None:
            batch_data_samples = [self.prompt_tuning.training_sample(sample) for sample in batch_data_samples]
        prompts = [_training_prompt(sample) for sample in batch_data_samples]
        labels = [_checked_labels(prompt, sample) for prompt, sample in zip(prompts, batch_data_samples, strict=True)]
        tokenized = [self.language_model.tokenizer(prompt) for prompt in prompts]
        masked = None if self.mlm_head is None else self.mlm_head.mask(
            tokenized, labels, self.language_model.tokenizer).to(batch_inputs.device)
        # one encoding serves all losses; equal prompts hide different words, so with masking each image has its own
        text = (self.language_model(masked.tokens) if masked is not None
                else encode_prompts(self.language_model, prompts, [self.prompt_tuning] * len(prompts)))
        levels = self.extract_feat(batch_inputs)
        fused = self.fusion(levels, text)

        outputs = self.bbox_head(fused)
        boxes = [get_box_tensor(sample.gt_instances.bboxes) for sample in batch_data_samples]
        positive_maps = [
            phrase_token_map(item, text.mask.shape[1])[box_labels].to(batch_inputs.device)
            for item, box_labels in zip(tokenized, labels, strict=True)]
        losses = {}
        if self._boxes_teach():
            targets = self.bbox_head.assign(outputs, boxes, positive_maps)
            losses |= self.bbox_head.loss(outputs, targets, text.padding_aware_mask)
            if self.inter_loss is not None:
                losses['loss_inter'] = self.inter_loss(levels, text, targets, tokenized, labels)
        if self.mlm_head is not None:
            losses['loss_mlm'] = self.mlm_head.loss(fused.text.hidden, masked, self.language_model.word_embeddings)
        if self.mask_head is not None:
            proposals = self._proposals(outputs, tokenized, batch_data_samples)
            masks = [_training_masks(sample) for sample in batch_data_samples]
            losses |= self.mask_head.loss(fused, proposals, boxes, masks, positive_maps)
        return losses

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """Detections for every prompt of every image, in ``pred_instances``; with a mask head, with ``masks``.

        Long class lists are split into prompts that the text encoder can read, for any batch size; the image is
        encoded once for all of them.

        Args:
            batch_inputs: (B, 3, H, W).
            batch_data_samples: each with ``text`` (class names, "a . b" or a caption) and, optionally,
                ``custom_entities``, ``tokens_positive``, ``caption_prompt`` as in mmdet's GLIP.
            rescale: boxes and masks in original pixels; otherwise in pixels of the network input.
        """
        tunings = [self._tuning(sample) for sample in batch_data_samples]
        prompts = [_prompt_of(sample, tuning) for sample, tuning in zip(batch_data_samples, tunings, strict=True)]
        chunks = [self._chunk(prompt, sample) if tuning is None or tuning.is_positional else tuning.chunks
                  for prompt, sample, tuning in zip(prompts, batch_data_samples, tunings, strict=True)]
        candidates, features = self._candidates(self.extract_feat(batch_inputs), chunks, tunings, batch_data_samples)
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
        tunings = [self._tuning(sample) for sample in batch_data_samples]
        prompts = [_prompt_of(sample, tuning) for sample, tuning in zip(batch_data_samples, tunings, strict=True)]
        text = encode_prompts(self.language_model, prompts, tunings)
        return self.bbox_head(self.fusion(self.extract_feat(batch_inputs), text))

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        # mmengine loads what fits and only warns about the rest: a wrong file would train or predict from noise
        check_fits(self, state_dict, prefix)
        # what was encoded or checked with the old weights
        self._bound_prompts.forget()
        if self.prompt_tuning is not None:
            self.prompt_tuning.forget()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _candidates(self, levels: Sequence[Tensor], chunks: Sequence[Sequence[PromptChunk]],
                    tunings: Sequence[PromptTuning | None],
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
            text = encode_prompts(self.language_model, [chunk.prompt for chunk in batch_chunks],
                                  [tunings[image] for image in images])
            fused = self.fusion(_take(levels, images), text)
            phrase_maps = [
                self._phrase_map(chunk.prompt, text.mask.shape[1]).to(text.mask.device) for chunk in batch_chunks]
            results = self.bbox_head.candidates(
                self.bbox_head(fused), phrase_maps, [samples[image].img_shape for image in images])
            for row, (image, result) in enumerate(zip(images, results, strict=True)):
                candidates[image].append(result)
                if self.mask_head is not None:
                    features[image].append(_features_of(fused, row, phrase_maps[row], batch_chunks[row]))
        return candidates, features

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

    def _build_prompt_tuning(self, prompt_tuning: dict) -> PromptTuning:
        others = [name for name in ('inter_loss', 'mlm_head') if getattr(self, name) is not None]
        if others:
            raise ValueError(f'prompt_tuning was given with {others[0]}, whose own layers would have to learn; in '
                             f'prompt tuning the prompt alone does. Set {others[0]}=None.')
        return MODELS.build({'chunked_size': self.test_cfg.get('chunked_size', -1), **prompt_tuning,
                             'tokenizer': self.language_model.tokenizer, 'channels': self.language_model.channels})

    def _boxes_teach(self) -> bool:
        """Whether the losses of the boxes reach a part that learns; a frozen head still has them for those before."""
        return self.prompt_tuning is not None or any(part not in self.frozen_parts for part in BASE_PARTS)

    def _tuning(self, sample: DetDataSample) -> PromptTuning | None:
        """The tuned prompt of an image: its own, the one that was set, or the one that learns."""
        tuned = sample.get('tuned_prompt', None) or self.tuned_prompt
        if tuned is None:
            return self.prompt_tuning
        tuned = tuned if isinstance(tuned, TunedPrompt) else TunedPrompt.load(tuned)
        return self._bound_prompts.bind(tuned, self)

    def _chunk(self, prompt: Prompt, sample: DetDataSample) -> list[PromptChunk]:
        return chunk_prompt(prompt, self.language_model.tokenizer, self.test_cfg.get('chunked_size', -1),
                            overrides=sample.get('caption_prompt', None))

    def _phrase_map(self, prompt: Prompt, num_words: int) -> Tensor:
        """(K, T) bool, on the host."""
        return phrase_token_map(self.language_model.tokenizer(prompt), num_words)


def _checked_labels(prompt: Prompt, sample: DetDataSample) -> list[int]:
    """The phrase of each ground-truth box, on the host."""
    labels = sample.gt_instances.labels.tolist()
    # a negative label would silently count from the end
    unknown = [label for label in labels if not 0 <= label < len(prompt.phrases)]
    if unknown:
        raise PromptError(
            f'Label {unknown[0]} of image "{sample.get("img_path", "?")}" is not in its prompt, which has '
            f'{len(prompt.phrases)} phrases ({", ".join(prompt.names[:5])}, ...). Put BuildPrompt into the training '
            'pipeline; it makes labels and prompt agree.')
    return labels


def _training_prompt(sample: DetDataSample) -> Prompt:
    prompt = sample.get('prompt', None)
    return _inference_prompt(sample) if prompt is None else prompt


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


def _prompt_of(sample: DetDataSample, tuning: PromptTuning | None) -> Prompt:
    if tuning is None or tuning.is_positional:
        return _inference_prompt(sample)
    if sample.get('text', None) is not None:
        tuning.check_names(_inference_prompt(sample).names)
    return tuning.prompt


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
