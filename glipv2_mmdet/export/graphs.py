"""What is exported: modules from tensors to tensors around the weights of a detector.

Three graphs. ``ImageTextGraph`` reads any prompt. ``FixedPromptGraph`` has read its prompt already: the text encoder is
gone, only the text path of fusion, which depends on the image, stays. ``MaskGraph`` runs after suppression, on the
boxes that are left. Top candidates and suppression stay outside: they are a few lines in every language, and their
sizes depend on the data.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import delta2bbox_glip
from mmdet.structures import DetDataSample
from torch import Tensor, nn
from torchvision.ops import roi_align

from glipv2_mmdet.export.exportable import ExportError
from glipv2_mmdet.models.detectors import GLIPv2
from glipv2_mmdet.models.detectors.tuned_prompts import prompt_and_chunks, tuning_of
from glipv2_mmdet.models.prompt_tuning import encode_prompts
from glipv2_mmdet.structures import TextFeatures
from glipv2_mmdet.text import Prompt, TokenBatch, phrase_token_map

#: Lengths of a batch whose padding is known by its mask alone.
UNKNOWN_LENGTHS = (0, 1)


class ImageTextGraph(nn.Module):
    """Image and tokens in, boxes with phrase scores out.

    Args:
        detector: from :func:`~glipv2_mmdet.export.exportable.exportable`.
    """

    def __init__(self, detector: GLIPv2) -> None:
        super().__init__()
        self.detector = _without(detector, 'mlm_head', 'inter_loss', 'prompt_tuning')
        self.eval()

    def forward(self, image: Tensor, token_ids: Tensor, token_mask: Tensor, phrase_map: Tensor) -> tuple[Tensor, ...]:
        """Find every phrase everywhere.

        Args:
            image: (1, 3, H, W) normalised and padded; H and W are multiples of 32.
            token_ids: (1, T) int64.
            token_mask: (1, T) bool, True on real tokens.
            phrase_map: (K, T) float32, the share each token has in each phrase; rows add up to one.

        Returns:
            Boxes (A, 4) xyxy with inclusive right and bottom side, input pixels, not clipped; phrase probabilities
            (A, K); centerness (A,) in [0, 1]. With a mask head also the words (1, T, C) and the fused levels, fine to
            coarse.
        """
        text = self.detector.language_model(TokenBatch(token_ids, token_mask, UNKNOWN_LENGTHS))
        found, features = _grounded(self.detector, image, text, phrase_map)
        return *found, *features


class FixedPromptGraph(nn.Module):
    """Image in, boxes with the scores of fixed phrases out.

    Args:
        detector: from :func:`~glipv2_mmdet.export.exportable.exportable`.
        names: class names, or None for the tuned prompt of the detector.

    Raises:
        ExportError: the names do not fit into one prompt.
    """

    def __init__(self, detector: GLIPv2, names: Sequence[str] | None) -> None:
        super().__init__()
        prompt, text, phrase_map = _encode_fixed(detector, names)
        self.phrases = prompt.names
        self.detector = _without(detector, 'mlm_head', 'inter_loss', 'prompt_tuning', 'language_model')
        self.register_buffer('hidden', text.hidden)
        self.register_buffer('embedded', text.embedded)
        self.register_buffer('phrase_map', phrase_map)
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, H, W) to what :class:`ImageTextGraph` gives; with a mask head ``phrase_map`` comes in fourth place."""
        mask = torch.ones_like(self.hidden[..., 0], dtype=torch.bool)
        text = TextFeatures(self.hidden, self.embedded, mask, lengths=(self.hidden.shape[1],))
        found, features = _grounded(self.detector, image, text, self.phrase_map)
        return (*found, self.phrase_map.clone(), *features) if features else found


class MaskGraph(nn.Module):
    """Fused features and boxes in, mask probabilities out.

    Args:
        detector: from :func:`~glipv2_mmdet.export.exportable.exportable`, with a mask head.
    """

    def __init__(self, detector: GLIPv2) -> None:
        super().__init__()
        self.head = detector.mask_head
        self.eval()

    def forward(self, words: Tensor, boxes: Tensor, word_map: Tensor, *levels: Tensor) -> Tensor:
        """Masks of boxes.

        Args:
            words: (1, T, C) from the detector graph.
            boxes: (R, 4) xyxy edges in pixels of the network input.
            word_map: (R, T) float32, the row of ``phrase_map`` of each box's phrase.
            levels: (1, C, H, W) maps from the detector graph.

        Returns:
            (R, S, S) probabilities inside the boxes.
        """
        features = self.head.reduce(self._pool(levels, boxes))
        for hourglass in self.head.hourglasses:
            features = hourglass(features).relu()
        images = torch.zeros_like(boxes[:, 0], dtype=torch.long)
        return self.head.match(features, words, images, word_map).sigmoid()

    def _pool(self, levels: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """(R, C, S, S): every box is read from every level, then its own is taken; boxes are few."""
        extractor = self.head.roi_extractor
        rois = torch.cat((torch.zeros_like(boxes[:, :1]), boxes), dim=1)
        levels = levels[: extractor.num_inputs]
        owners = extractor.map_roi_levels(rois, len(levels))[:, None, None, None]
        pooled = 0
        for number, (level, layer) in enumerate(zip(levels, extractor.roi_layers, strict=True)):
            read = roi_align(level, rois, layer.output_size, layer.spatial_scale, layer.sampling_ratio, aligned=True)
            pooled = pooled + read * (owners == number)
        return pooled


def phrase_shares(detector: GLIPv2, prompt: Prompt, num_tokens: int) -> Tensor:
    """(K, T) float32: one over the number of tokens of the phrase, 0 elsewhere."""
    phrase_map = phrase_token_map(detector.language_model.tokenizer(prompt), num_tokens).float()
    return phrase_map / phrase_map.sum(dim=1, keepdim=True).clamp(min=1)


def _grounded(
    detector: GLIPv2, image: Tensor, text: TextFeatures, phrase_map: Tensor
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What decoding needs of an image and its text, and what masks need; nothing without a mask head."""
    fused = detector.fusion(detector.extract_feat(image), text)
    outputs = detector.bbox_head(fused)
    # the function inside mmdet's coder: the coder itself refuses to be traced
    coder = detector.bbox_head.bbox_coder
    boxes = delta2bbox_glip(detector.bbox_head.anchors(outputs), outputs.box_deltas[0], coder.means, coder.stds)
    phrase_probs = outputs.word_logits[0].sigmoid() @ phrase_map.transpose(0, 1)
    found = boxes, phrase_probs, outputs.centerness[0].sigmoid()
    return found, (() if detector.mask_head is None else (fused.words, *fused.levels))


@torch.no_grad()
def _encode_fixed(detector: GLIPv2, names: Sequence[str] | None) -> tuple[Prompt, TextFeatures, Tensor]:
    """The prompt, tuned or of names, its features, and the share (K, T) of each token in each phrase.

    Raises:
        ExportError: the names do not fit into one prompt.
    """
    sample = DetDataSample(metainfo={} if names is None else dict(text=tuple(names)))
    tuning = tuning_of(detector, sample)
    prompt, chunks = prompt_and_chunks(detector, sample, tuning)
    if len(chunks) != 1:
        raise ExportError(
            f'{len(prompt.phrases)} class names need {len(chunks)} prompts of this text encoder. A fixed model has '
            'one: export one model per part of the list, or raise test_cfg.chunked_size if that made the parts.'
        )
    text = encode_prompts(detector.language_model, [prompt], [tuning])
    return prompt, text, phrase_shares(detector, prompt, text.mask.shape[1])


def _without(detector: GLIPv2, *names: str) -> GLIPv2:
    """The same detector without some parts, whose weights are not to be in the file."""
    reduced = copy.copy(detector)
    reduced._modules = {**detector._modules, **dict.fromkeys(names)}
    reduced.frozen_parts = ()
    return reduced
