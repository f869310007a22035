"""Which images a batch holds, in words for a message."""

from __future__ import annotations

from typing import Any

from glipv2_mmdet.text.prompt import shorten

_MOST_IMAGES, _MOST_CHARACTERS = 16, 120


def tell_images(batch: Any) -> str:
    """Id, path and prompt of each image of a batch of mmdet's data loader.

    Args:
        batch: dict with ``data_samples``; of anything else only the type is told.
    """
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not isinstance(samples, (list, tuple)):
        return f'a {type(batch).__name__} without data samples'
    told = [_tell(sample) for sample in samples[:_MOST_IMAGES]]
    if len(samples) > _MOST_IMAGES:
        told.append(f'and {len(samples) - _MOST_IMAGES} more')
    return '; '.join(told)


def _tell(sample: Any) -> str:
    prompt = sample.get('prompt', None)
    text = sample.get('text', None) if prompt is None else prompt.text
    words = text if isinstance(text, str) or text is None else '. '.join(map(str, text))
    return f'image {sample.get("img_id", "without id")}, "{sample.get("img_path", "no path")}", ' + (
        'no prompt' if words is None else f'prompt "{shorten(words, _MOST_CHARACTERS)}"'
    )
