"""GLIPv2: images and prompts in, grounded boxes, masks, answers and captions out. The whole flow on one screen.

Beside it: what samples must bring (``samples.py``), tuned prompts (``tuned_prompts.py``), questions (``answering.py``),
and text that is read left to right and may also be written (``captioning.py``).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from os import PathLike
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, OptSampleList, SampleList
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import ConfigDict
from torch import Tensor

from glipv2_mmdet.checkpoints import check_fits
from glipv2_mmdet.models.detectors.answering import answer, answer_loss, one_question_each, prepare_answering, prompt_of
from glipv2_mmdet.models.detectors.captioning import (
    annotated_words,
    caption_of,
    predict_captions,
    prepare_captioning,
)
from glipv2_mmdet.models.detectors.detector_settings import check_settings
from glipv2_mmdet.models.detectors.samples import checked_labels, name_phrases, training_masks
from glipv2_mmdet.models.detectors.tuned_prompts import build_prompt_tuning, prompt_and_chunks, tuning_of
from glipv2_mmdet.models.layers.levels import take_images
from glipv2_mmdet.models.pretrained_encoder import with_text_encoder
from glipv2_mmdet.models.prompt_tuning import BoundPrompts, PromptTuning, encode_prompts
from glipv2_mmdet.models.tuned_prompt import TunedPrompt
from glipv2_mmdet.structures import Candidates, FusedFeatures, GroundingOutputs, PromptFeatures, TextFeatures
from glipv2_mmdet.text import Prompt, PromptChunk, TokenizedPrompt, phrase_token_map

#: Which images of a batch, and one encoded prompt for each of them.
Fuse = Callable[[Sequence[int], TextFeatures], FusedFeatures]


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
        caption_head: ``CaptionHead`` writes captions, and grounds them where the ``bbox_head`` learns. All text is then
            read left to right, and the image does not see it.
        frozen_parts: names of parts that do not learn, such as ``'backbone'``: no gradient, always in eval mode. A
            frozen ``bbox_head`` has no loss. With all parts but the mask head it is GLIPv2's second stage, in
            which nothing in front of that head keeps a graph.
        prompt_tuning: ``PromptTuning`` learns a residual on the encoded prompt from the losses of boxes (and masks);
            all other parts are frozen.
        tuned_prompt: file of a prompt that such a run has saved, see :meth:`set_prompt`.
        train_cfg: as mmdet's detectors have it; nothing would be read from it, so it has to be empty.
        test_cfg: settings of the heads, and ``chunked_size``: at most so many class names per prompt (-1: as many
            as the text encoder reads), ``prompts_per_batch``: how many prompts pass through fusion at once,
            ``max_per_prompt`` and ``max_per_img``: most detections of a prompt and of an image,
            ``default_threshold``: minimum score of the boxes that the inferencer returns by default,
            ``caption``: how captions are searched for, see :func:`caption_settings`.
        data_preprocessor: mmdet's ``DetDataPreprocessor``.
        init_cfg: as in mmengine.

    Raises:
        ValueError: a name in ``frozen_parts`` that is no part of this detector; parts that do not go together; unknown
            or wrong settings in ``test_cfg``, any in ``train_cfg``.
    """

    def __init__(
        self,
        backbone: dict,
        language_model: dict,
        neck: dict,
        fusion: dict,
        bbox_head: dict,
        mask_head: dict | None = None,
        inter_loss: dict | None = None,
        mlm_head: dict | None = None,
        vqa_head: dict | None = None,
        caption_head: dict | None = None,
        frozen_parts: Sequence[str] = (),
        prompt_tuning: dict | None = None,
        tuned_prompt: str | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        check_settings(train_cfg or {}, test_cfg or {})
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
        self.caption_head = MODELS.build(caption_head) if caption_head else None
        self.prompt_tuning = build_prompt_tuning(self, prompt_tuning) if prompt_tuning else None
        # as published, and not only because a prompt is tuned on it
        self.has_published_text = 'language_model' in frozen_parts
        self.frozen_parts = (
            tuple(frozen_parts)
            if self.prompt_tuning is None
            else tuple(name for name, _ in self.named_children() if name not in ('prompt_tuning', 'data_preprocessor'))
        )
        self._freeze()
        # whether it fits is known once the weights are there
        self.tuned_prompt = None if tuned_prompt is None else TunedPrompt.load(tuned_prompt)
        self.bound_prompts = BoundPrompts()
        if self.vqa_head is not None:
            prepare_answering(self)
        if self.caption_head is not None:
            prepare_captioning(self)

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
            self.bound_prompts.bind(prompt, self)
        self.tuned_prompt = prompt

    @property
    def learns_boxes(self) -> bool:
        """Whether there are losses of boxes; a frozen head has them for the sake of a prompt only."""
        return 'bbox_head' not in self.frozen_parts or self.prompt_tuning is not None

    @property
    def learns_regions(self) -> bool:
        """Whether there are losses of boxes or masks."""
        return self.learns_boxes or self.mask_head is not None

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) to pyramid levels (B, C, H_l, W_l), fine to coarse, before fusion."""
        return self.neck(self.backbone(batch_inputs))

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Training losses of the heads that learn.

        Args:
            batch_inputs: (B, 3, H, W).
            batch_data_samples: each with ``prompt`` in its meta information (``BuildPrompt`` puts it there) or a
                class list in ``text``, and ground truth whose labels count the prompt's phrases; with a mask head,
                ``masks`` too (``LoadMasks`` makes them). With a VQA head instead a question in ``text`` with
                ``answer_scores`` (V,), or all ``questions`` of the image with a row of scores each. With a caption head
                ``prompt`` is the caption; one without phrases has no boxes and trains the words alone.
        """
        images, batch_data_samples = one_question_each(batch_data_samples)
        if self.prompt_tuning is not None:
            batch_data_samples = [self.prompt_tuning.training_sample(sample) for sample in batch_data_samples]
        prompts = [self._training_prompt(sample) for sample in batch_data_samples]
        labels = [checked_labels(prompt, sample) for prompt, sample in zip(prompts, batch_data_samples, strict=True)]
        tokenized = [self.language_model.tokenizer(prompt) for prompt in prompts]
        masked = (
            None
            if self.mlm_head is None
            else self.mlm_head.mask(tokenized, labels, self.language_model.tokenizer).to(batch_inputs.device)
        )
        # one encoding serves all losses; equal prompts hide different words, so with masking each image has its own
        tunings = [self.prompt_tuning] * len(prompts)
        text = self._encode(prompts, tunings) if masked is None else self.language_model(masked.tokens)
        levels = self.extract_feat(batch_inputs)
        if self.learns_regions:
            levels, images = take_images(levels, images), None
        fused = self.fusion(levels, text, words_only=not self.learns_regions, images=images)

        losses = {}
        if self.mlm_head is not None:
            losses['loss_mlm'] = self.mlm_head.loss(fused.text.hidden, masked, self.language_model.word_embeddings)
        if self.vqa_head is not None:
            losses['loss_vqa'] = answer_loss(self.vqa_head, fused.text, batch_data_samples)
        if self.caption_head is not None:
            losses['loss_caption'] = self.caption_head.loss(
                fused.words, tokenized, self.language_model.tokenizer, self.language_model.word_embeddings
            )
        if not self.learns_regions:
            return losses

        outputs = self.bbox_head(fused)
        boxes = [get_box_tensor(sample.gt_instances.bboxes) for sample in batch_data_samples]
        positive_maps = [
            phrase_token_map(item, text.mask.shape[1])[box_labels].to(batch_inputs.device)
            for item, box_labels in zip(tokenized, labels, strict=True)
        ]
        if self.learns_boxes:
            targets = self.bbox_head.assign(outputs, boxes, positive_maps)
            word_mask = text.padding_aware_mask if self.caption_head is None else annotated_words(text, prompts)
            losses |= self.bbox_head.loss(outputs, targets, word_mask)
            if self.inter_loss is not None:
                losses['loss_inter'] = self.inter_loss(levels, text, targets, tokenized, labels)
        if self.mask_head is not None:
            proposals = self._proposals(outputs, tokenized, batch_data_samples)
            masks = [training_masks(sample) for sample in batch_data_samples]
            losses |= self.mask_head.loss(fused, proposals, boxes, masks, positive_maps)
        return losses

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """Detections for every prompt of every image, in ``pred_instances``; with a mask head, with ``masks``.

        With a VQA head the answers to a question are in ``pred_answers``
        (:class:`~glipv2_mmdet.structures.Answers`), and only a grounded one has boxes, too. With a caption head an
        image without ``text`` gets a caption, in ``pred_caption``
        (:class:`~glipv2_mmdet.structures.PredictedCaption`).

        Long class lists are split into prompts that the text encoder can read, for any batch size; the image is
        encoded once for all of them.

        Args:
            batch_inputs: (B, 3, H, W).
            batch_data_samples: each with ``text`` (class names, "a . b" or a caption) and, optionally,
                ``custom_entities``, ``tokens_positive``, ``caption_prompt`` as in mmdet's GLIP.
            rescale: boxes and masks in original pixels; otherwise in pixels of the network input.
        """
        levels = self.extract_feat(batch_inputs)
        if self.caption_head is not None:
            predict_captions(self, levels, batch_data_samples, rescale)
        elif self.vqa_head is not None and not self.vqa_head.grounded:
            text = self.language_model.encode([self.inference_prompt(sample) for sample in batch_data_samples])
            answer(self.vqa_head, self.fusion(levels, text, words_only=True).text, batch_data_samples)
        else:
            self.ground(
                batch_data_samples, lambda images, text: self.fusion(take_images(levels, images), text), rescale
            )
        return batch_data_samples

    def ground(self, samples: SampleList, fuse: Fuse, rescale: bool) -> None:
        """Set ``pred_instances`` of every sample to what its text names.

        Args:
            samples: each with ``text``.
            fuse: makes fused features of the given samples, one encoded prompt for each.
            rescale: as in :meth:`predict`.
        """
        tunings = [tuning_of(self, sample) for sample in samples]
        prompts, chunks = zip(
            *(prompt_and_chunks(self, sample, tuning) for sample, tuning in zip(samples, tunings, strict=True)),
            strict=True,
        )
        candidates, features = self._candidates(fuse, chunks, tunings, samples)
        for sample, prompt, *found in zip(samples, prompts, chunks, candidates, features, strict=True):
            self.set_detections(sample, prompt, *found, rescale)

    def set_detections(
        self,
        sample: DetDataSample,
        prompt: Prompt,
        chunks: Sequence[PromptChunk],
        candidates: Sequence[Candidates],
        features: Sequence[PromptFeatures],
        rescale: bool,
    ) -> None:
        """Set ``pred_instances`` of one image, given what each chunk of its prompt has found."""
        scale_factor = sample.scale_factor if rescale else None
        sample.pred_instances = self.bbox_head.detections(
            candidates, [chunk.phrase_ids for chunk in chunks], scale_factor
        )
        if self.mask_head is not None:
            sample.pred_instances.masks = self.mask_head.predict(
                features, sample.pred_instances, scale_factor, sample.ori_shape if rescale else sample.img_shape
            )
        name_phrases(sample.pred_instances, prompt)

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None
    ) -> GroundingOutputs | tuple[Tensor, ...]:
        """Raw head outputs for one prompt per image, without decoding; under tracing only their three tensors."""
        tunings = [tuning_of(self, sample) for sample in batch_data_samples]
        prompts = [
            prompt_and_chunks(self, sample, tuning)[0]
            for sample, tuning in zip(batch_data_samples, tunings, strict=True)
        ]
        outputs = self.bbox_head(self.fusion(self.extract_feat(batch_inputs), self._encode(prompts, tunings)))
        # a trace, such as that of mmdet's get_flops, takes tensors only
        tensors = outputs.word_logits, outputs.box_deltas, outputs.centerness
        return tensors if torch.jit.is_tracing() else outputs

    def _load_from_state_dict(self, state_dict: MutableMapping[str, Tensor], prefix: str, *args: Any) -> None:
        # mmengine loads what fits and only warns about the rest: a wrong file would train or predict from noise
        check_fits(self, state_dict, prefix)
        # the loader reads the same mapping for the parts, so it has to be completed in place
        state_dict.update(with_text_encoder(self, state_dict, prefix))
        # what was encoded or checked with the old weights
        self.bound_prompts.forget()
        if self.prompt_tuning is not None:
            self.prompt_tuning.forget()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _training_prompt(self, sample: DetDataSample) -> Prompt:
        if self.caption_head is not None:
            return caption_of(sample)
        prompt = sample.get('prompt', None)
        return self.inference_prompt(sample) if prompt is None else prompt

    def inference_prompt(self, sample: DetDataSample) -> Prompt:
        """What the text of a sample asks: classes, a caption, or, where there is a head for it, a question.

        Raises:
            PromptError: there is no text, or it makes no prompt.
        """
        return prompt_of(sample, self.vqa_head, self.language_model.tokenizer)

    def _encode(self, prompts: Sequence[Prompt], tunings: Sequence[PromptTuning | None]) -> TextFeatures:
        if self.caption_head is not None:
            return self.language_model.encode(prompts, causal=True)
        return encode_prompts(self.language_model, prompts, tunings)

    def _candidates(
        self,
        fuse: Fuse,
        chunks: Sequence[Sequence[PromptChunk]],
        tunings: Sequence[PromptTuning | None],
        samples: SampleList,
    ) -> tuple[list[list[Candidates]], list[list[PromptFeatures]]]:
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
            images, batch_chunks = zip(*pairs[start : start + batch_size], strict=True)
            text = self._encode([chunk.prompt for chunk in batch_chunks], [tunings[image] for image in images])
            fused = fuse(images, text)
            if self.vqa_head is not None:
                answer(self.vqa_head, fused.text, [samples[image] for image in images])
            phrase_maps = [
                phrase_token_map(self.language_model.tokenizer(chunk.prompt), text.mask.shape[1]).to(text.mask.device)
                for chunk in batch_chunks
            ]
            results = self.bbox_head.candidates(
                self.bbox_head(fused), phrase_maps, [samples[image].img_shape for image in images]
            )
            for row, (image, result) in enumerate(zip(images, results, strict=True)):
                candidates[image].append(result)
                if self.mask_head is not None:
                    features[image].append(_features_of(fused, row, phrase_maps[row], batch_chunks[row]))
        return candidates, features

    @torch.no_grad()
    def _proposals(
        self, outputs: GroundingOutputs, tokenized: Sequence[TokenizedPrompt], samples: SampleList
    ) -> list[Tensor]:
        """Per image (P, 4) boxes that the bounding box head would return now, xyxy edges in input pixels."""
        words = outputs.word_logits
        phrase_maps = [phrase_token_map(item, words.shape[2]).to(words.device) for item in tokenized]
        candidates = self.bbox_head.candidates(outputs, phrase_maps, [sample.img_shape for sample in samples])
        return [
            self.bbox_head.detections([found], [range(len(phrase_map))], None).bboxes
            for found, phrase_map in zip(candidates, phrase_maps, strict=True)
        ]

    def _freeze(self) -> None:
        unknown = [name for name in self.frozen_parts if name not in self._modules]
        if unknown:
            raise ValueError(
                f'frozen_parts names "{unknown[0]}", which is no part of this detector. Expected names among '
                f'{", ".join(name for name, part in self.named_children() if part is not None)}.'
            )
        for name in self.frozen_parts:
            getattr(self, name).requires_grad_(False)


def _features_of(fused: FusedFeatures, row: int, phrase_map: Tensor, chunk: PromptChunk) -> PromptFeatures:
    return PromptFeatures(
        levels=tuple(level[row : row + 1] for level in fused.levels),
        words=fused.words[row : row + 1],
        phrase_map=phrase_map,
        phrase_ids=chunk.phrase_ids,
    )
