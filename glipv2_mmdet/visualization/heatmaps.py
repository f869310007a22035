"""Where in an image each word of a prompt matches: the region-word scores as pictures.

In: a detector, an image, a prompt. Out: :class:`WordHeatmaps`, and a sheet with one tinted image per word. The scores
are those that detection is made of, before boxes, centerness and suppression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import Compose
from mmdet.utils import get_test_pipeline_cfg
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from glipv2_mmdet.image_decoding import decode_rgb
from glipv2_mmdet.text import Phrase, Prompt, phrase_scores, phrase_token_map, word_spans
from glipv2_mmdet.visualization.palette import label_font
from glipv2_mmdet.visualization.text_panel import PanelText, paint_panel

_LEAST_OPACITY, _MOST_OPACITY = 0.15, 0.75
_GAP = 8


@dataclass(frozen=True)
class WordHeatmaps:
    """How well each word matches each place of an image.

    Attributes:
        image: (H, W, 3) RGB uint8, the original image.
        names: the W words (or phrases), in prompt order.
        values: (W, H, W) float32, 0 to 1: the highest region-word probability over the pyramid levels, the mean over a
            word's tokens. Interpolated between positions, so a sharp peak is somewhat lower than its score.
    """

    image: np.ndarray
    names: tuple[str, ...]
    values: Tensor


@torch.no_grad()
def word_heatmaps(
    detector: nn.Module,
    image: str | np.ndarray,
    text: str | list[str],
    custom_entities: bool = True,
    whole_phrases: bool = False,
) -> WordHeatmaps:
    """Scores of one prompt on one image.

    Args:
        detector: of ``init_detector``; it brings the test pipeline in ``cfg``.
        image: path, or (H, W, 3) BGR as mmdet reads it.
        text: ``'cat . remote'`` or a list of class names; a sentence with ``custom_entities=False``. One prompt: what
            does not fit the text encoder is left out, and the tokenizer warns.
        custom_entities: as in mmdet's inference API.
        whole_phrases: one map per phrase instead of one per word.

    Raises:
        PromptError: the text makes no prompt.
        FileNotFoundError: there is no such image.
        ImageInputError: the file is no image.
    """
    array = decode_rgb(Path(image).read_bytes(), image)[..., ::-1].copy() if isinstance(image, str) else image
    steps = get_test_pipeline_cfg(detector.cfg.copy())
    steps = [step for step in steps if step['type'] not in ('LoadAnnotations', 'LoadMasks')]
    steps[0] = dict(type='mmdet.LoadImageFromNDArray')
    sample = Compose(steps)(dict(img=array, img_id=0, text=text, custom_entities=custom_entities))
    meta = dict(text=text, custom_entities=custom_entities)
    sample['data_samples'].set_metainfo(meta)  # a pipeline for captions does not pass the text on
    batch = detector.data_preprocessor(pseudo_collate([sample]), False)
    samples = batch['data_samples']
    prompt = detector.inference_prompt(samples[0])
    if not whole_phrases:
        prompt = words_of(prompt)
    outputs = detector(batch['inputs'], samples, mode='tensor')
    phrase_map = phrase_token_map(detector.language_model.tokenizer(prompt), outputs.word_logits.shape[2])
    kept = phrase_map.any(dim=1)
    scores = phrase_scores(outputs.word_logits[0].float().sigmoid(), phrase_map[kept])  # (A, W)
    values = _on_image(scores, outputs.level_shapes, batch['inputs'].shape[-2:], samples[0].img_shape, array.shape[:2])
    names = tuple(name for name, has_tokens in zip(prompt.names, kept.tolist(), strict=True) if has_tokens)
    return WordHeatmaps(np.ascontiguousarray(array[..., ::-1]), names, values.cpu())


def words_of(prompt: Prompt) -> Prompt:
    """The same text with every word that belongs to a phrase as a phrase of its own; all words where none does."""
    inside = [span for phrase in prompt.phrases for span in phrase.spans]
    words = [
        (start, end)
        for start, end in word_spans(prompt.text)
        if not inside or any(first < end and start < last for first, last in inside)
    ]
    return Prompt(
        prompt.text, tuple(Phrase(prompt.text[start:end], ((start, end),)) for start, end in words), prompt.is_detection
    )


def draw_word_heatmaps(heatmaps: WordHeatmaps, columns: int = 4, tile_width: int = 320) -> np.ndarray:
    """A sheet: the image, then one tinted copy per word with the word and its highest score below.

    All tiles share one scale, from 0 to the highest score of the sheet, so a word that matches nothing stays dark.

    Args:
        heatmaps: W maps.
        columns: tiles per row.
        tile_width: pixels.

    Returns:
        (H', W', 3) RGB uint8.
    """
    height, width = heatmaps.image.shape[:2]
    size = (tile_width, max(1, round(height * tile_width / width)))
    enlarge = cv2.INTER_AREA if tile_width < width else cv2.INTER_CUBIC
    image = cv2.resize(heatmaps.image, size, interpolation=enlarge)
    top = max(float(heatmaps.values.max()), 1e-6) if len(heatmaps.names) else 1.0
    tiles = [_tile(image, f'scale: 0 to {top:.2f}', quiet=True)]
    for name, values in zip(heatmaps.names, heatmaps.values.numpy(), strict=True):
        large = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
        tiles.append(_tile(_tinted(image, large / top), f'{name}   {values.max():.2f}'))
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    tile_height = max(tile.shape[0] for tile in tiles)
    sheet = np.full((rows * (tile_height + _GAP) + _GAP, columns * (tile_width + _GAP) + _GAP, 3), 255, dtype=np.uint8)
    for place, tile in enumerate(tiles):
        y, x = (place // columns) * (tile_height + _GAP) + _GAP, (place % columns) * (tile_width + _GAP) + _GAP
        sheet[y : y + tile.shape[0], x : x + tile_width] = tile
    return sheet


def _on_image(
    scores: Tensor,
    level_shapes: tuple[tuple[int, int], ...],
    padded: tuple[int, int],
    shown: tuple[int, int],
    original: tuple[int, int],
) -> Tensor:
    """(A, W) over all levels to (W, H, W) in original pixels, the highest of the levels at each place."""
    best: Tensor | None = None
    for part, shape in zip(scores.split([h * w for h, w in level_shapes]), level_shapes, strict=True):
        level = part.T.reshape(1, -1, *shape)
        level = F.interpolate(level, padded, mode='bilinear', align_corners=False)
        best = level if best is None else torch.maximum(best, level)
    best = best[..., : shown[0], : shown[1]]  # without the padding
    return F.interpolate(best, original, mode='bilinear', align_corners=False)[0]


def _tinted(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Grey where nothing matches, from violet over orange to yellow where it does."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    colours = cv2.applyColorMap((heat.clip(0, 1) * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = (_LEAST_OPACITY + (_MOST_OPACITY - _LEAST_OPACITY) * heat.clip(0, 1))[..., None]
    return (grey * (1 - opacity) + colours * opacity).round().astype(np.uint8)


def _tile(image: np.ndarray, text: str, quiet: bool = False) -> np.ndarray:
    size = 16
    while label_font(size).getlength(text) > image.shape[1] - size and size > 9:
        size -= 1
    return np.concatenate((image, paint_panel([PanelText(text, quiet=quiet)], image.shape[1], size)))
