"""The mask head: segmentation as matching the pixels of a box with the words of its phrase.

In: fused levels, words, boxes and which words each box stands for. Out: one map per box. No layer has one output
per class. Source: GLIPv2 (Zhang et al., 2022), section 3.2 and appendix on the mask head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from glipv2_mmdet.models.layers import Hourglass
from glipv2_mmdet.models.layers.hourglass import check_divisible
from glipv2_mmdet.models.layers.number_range import temperature, unit_length, within_half
from glipv2_mmdet.models.mask_heads.mask_targets import assign_mask_targets
from glipv2_mmdet.models.mask_heads.paste import paste_bitmaps, paste_rles
from glipv2_mmdet.structures import FusedFeatures, PromptFeatures

MASK_LOSS = dict(type='MaskLoss')
#: A box as wide as this reads the second level; GLIP's rule (224 pixels on the stride-16 level).
FINEST_SCALE = 112
SAMPLES_PER_CELL = 2


@MODELS.register_module()
class HourglassMaskHead(BaseModule):
    """RoIAlign on the fused pyramid, stacked hourglasses, upsampling, dot product with the words of the phrase.

    A mask is the mean of its words' logit maps. The logit is linear in the (normalised) word, so the words of a
    phrase are averaged first and each box meets one vector: memory grows with the boxes, never with boxes x words.

    Args:
        channels: width of the levels.
        text_channels: width of the words.
        mask_channels: width of the hourglasses, that of the levels by default; otherwise a 1x1 convolution leads
            there (the paper has 384 at the H scale and does not say how; this is our assumption).
        num_scales: halvings per hourglass: 1 for T and B, 2 for H.
        num_layers: stacked hourglasses: 1 for T and B, 4 for H.
        group_norm: normalise inside the hourglasses; off in the public settings.
        roi_size: side of a RoI; it must divide by ``2 ** num_scales``. 14 with one scale; 16 with two, because
            14 does not go through. A mask has twice that side.
        strides: of the levels.
        max_boxes: most boxes per image the loss looks at, ground truth and predictions together.
        min_overlap: IoU with an object from which a predicted box learns its mask.
        init_log_scale: start of the learned temperature, as in ``GroundingATSSHead``.
        loss_mask: L_mask.
        test_cfg: ``mask_thr_binary`` (0.5): probability from which a pixel belongs to the object; ``rle_masks``
            (False): give COCO run lengths instead of bitmaps, so that only one mask at a time has image size.
        init_cfg: as in mmengine.

    Raises:
        ValueError: a ``roi_size`` that the hourglasses cannot halve.
    """

    def __init__(
        self,
        channels: int = 256,
        text_channels: int = 768,
        mask_channels: int | None = None,
        num_scales: int = 1,
        num_layers: int = 1,
        group_norm: bool = False,
        roi_size: int = 14,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        max_boxes: int = 100,
        min_overlap: float = 0.5,
        init_log_scale: float = 0.0,
        loss_mask: dict = MASK_LOSS,
        test_cfg: ConfigDict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_divisible((roi_size, roi_size), num_scales)
        self.mask_size = 2 * roi_size
        self.max_boxes = max_boxes
        self.min_overlap = min_overlap
        self.test_cfg = test_cfg or ConfigDict()
        self.loss_mask = MODELS.build(loss_mask)
        # half-pixel aligned, unlike the public code: no weights depend on it, and edges are a pixel sharper
        self.roi_extractor = MODELS.build(
            dict(
                type='SingleRoIExtractor',
                out_channels=channels,
                featmap_strides=list(strides),
                finest_scale=FINEST_SCALE,
                roi_layer=dict(type='RoIAlign', output_size=roi_size, sampling_ratio=SAMPLES_PER_CELL),
            )
        )

        mask_channels = mask_channels or channels
        self.reduce = nn.Identity() if mask_channels == channels else nn.Conv2d(channels, mask_channels, 1)
        self.hourglasses = nn.ModuleList(Hourglass(num_scales, mask_channels, group_norm) for _ in range(num_layers))
        self.upsample = nn.ConvTranspose2d(mask_channels, mask_channels, 2, stride=2)
        self.text_projection = nn.Linear(text_channels, mask_channels)
        self.log_scale = nn.Parameter(torch.full((1,), init_log_scale))
        self.bias_lang = nn.Parameter(torch.zeros(text_channels))

    def forward(
        self, levels: Sequence[Tensor], words: Tensor, boxes: Sequence[Tensor], word_maps: Sequence[Tensor]
    ) -> Tensor:
        """Mask logits of given boxes.

        Args:
            levels: (B, C, H, W) fused maps, fine to coarse.
            words: (B, T, C) fused words.
            boxes: per image (R_b, 4) xyxy edges in input pixels.
            word_maps: per image (R_b, T) bool, the words of each box's phrase.

        Returns:
            (R, 2S, 2S) with S the RoI size: the boxes of all images joined, in order.
        """
        rois = bbox2roi(list(boxes))
        features = self.reduce(self.roi_extractor(tuple(levels), rois))
        for hourglass in self.hourglasses:
            features = hourglass(features).relu()
        return self.match(features, words, rois[:, 0].long(), torch.cat(list(word_maps)))

    def match(self, features: Tensor, words: Tensor, images: Tensor, word_map: Tensor) -> Tensor:
        """Upsampled pixels of each box against the mean of its words.

        Words are normalised, then halved before the projection (not for the bias), as in the grounding head; there
        is no constant bias.

        Args:
            features: (R, C, S, S) RoI features.
            words: (B, T, C).
            images: (R,) which image of the batch each box is in.
            word_map: (R, T) bool.

        Returns:
            (R, 2S, 2S) logits.
        """
        shares = word_map / word_map.sum(dim=1, keepdim=True).clamp(min=1)
        # one product for all images: each row is zero outside the words of its own image
        own_image = F.one_hot(images, len(words)).to(shares.dtype)
        shares = (own_image.unsqueeze(2) * shares.unsqueeze(1)).flatten(1)  # (R, B * T)
        mean_words = shares.to(words.dtype) @ unit_length(words).flatten(0, 1)
        vectors = self.text_projection(mean_words / 2) / temperature(self.log_scale)
        bias = mean_words @ self.bias_lang
        logits = self._upsampled_product(features, vectors)
        return within_half(logits + bias[:, None, None])

    def _upsampled_product(self, features: Tensor, vectors: Tensor) -> Tensor:
        """(R, C, S, S) features, upsampled, times (R, C) vectors: (R, 2S, 2S).

        The transposed convolution has kernel and stride 2, so each of the four pixels that a cell becomes is a 1x1
        convolution of its own. One after the other they need a quarter of the memory, and no features of mask
        size, the largest tensor of the public form, ever exist.
        """
        height, width = features.shape[-2:]
        products = []
        for weight in self.upsample.weight.flatten(2).unbind(2):  # (C_in, C_out) of each pixel, row-major
            pixels = F.conv2d(features, weight.t()[:, :, None, None], self.upsample.bias).relu_()
            products.append(torch.bmm(vectors.unsqueeze(1).to(pixels.dtype), pixels.flatten(2)))
        squares = torch.cat(products, dim=1).reshape(-1, 2, 2, height, width)  # row and column inside a cell first
        return squares.permute(0, 3, 1, 4, 2).reshape(-1, 2 * height, 2 * width)

    def loss(
        self,
        fused: FusedFeatures,
        proposals: Sequence[Tensor],
        gt_boxes: Sequence[Tensor],
        gt_masks: Sequence[BitmapMasks],
        positive_maps: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """L_mask of a batch.

        Args:
            fused: image levels and words.
            proposals: per image (P, 4) predicted boxes, xyxy edges in input pixels.
            gt_boxes: per image (G, 4) xyxy in input pixels, right and bottom side inclusive.
            gt_masks: per image G bitmaps of the size of the input image; an empty one teaches nothing.
            positive_maps: per image (G, T) bool, the words each box stands for.
        """
        targets = assign_mask_targets(
            proposals, gt_boxes, gt_masks, positive_maps, self.mask_size, self.max_boxes, self.min_overlap
        )
        logits = self(fused.levels, fused.words, targets.boxes, targets.word_maps)
        return dict(loss_mask=self.loss_mask(logits, targets.masks))

    def predict(
        self,
        prompts: Sequence[PromptFeatures],
        found: InstanceData,
        scale_factor: Sequence[float] | None,
        image_shape: Sequence[int],
    ) -> Tensor | list[dict]:
        """Masks of the detections of one image.

        Args:
            prompts: the image after fusion with each of its prompts; a box reads the one its phrase was in.
            found: ``bboxes`` (R, 4) xyxy edges and ``labels`` (R,) places in the class list.
            scale_factor: (w, h) input size over size of the boxes; None: boxes are in input pixels.
            image_shape: (H, W) of the picture that boxes are in and masks are pasted to.

        Returns:
            (R, H, W) bool, or R run lengths, see ``test_cfg``.
        """
        boxes = found.bboxes
        if scale_factor is not None:
            boxes = boxes * boxes.new_tensor(scale_factor).repeat(2)
        probs = boxes.new_zeros(len(boxes), self.mask_size, self.mask_size)
        for prompt in prompts:
            ids = torch.tensor(prompt.phrase_ids, device=boxes.device)
            rows, phrases = (found.labels[:, None] == ids).nonzero(as_tuple=True)
            if len(rows) > 0:
                logits = self(prompt.levels, prompt.words, [boxes[rows]], [prompt.phrase_map[phrases]])
                probs[rows] = logits.float().sigmoid().to(probs.dtype)
        paste = paste_rles if self.test_cfg.get('rle_masks', False) else paste_bitmaps
        return paste(probs, found.bboxes, image_shape, self.test_cfg.get('mask_thr_binary', 0.5))
