"""A batch as plain numbers, texts and tensors, and back: what a file may hold that is read without running code.

``torch.load`` refuses classes that it does not know, and it is right to. So the few classes of a batch are taken apart
before they are saved, each into a dict that says what it was, and put together again after loading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor

from glipv2_mmdet.text import Phrase, Prompt

_KIND = 'kind'
_NUMBER_KINDS = 'biuf'
_ELEMENTS = {cls.__name__: cls for cls in (DetDataSample, InstanceData, PixelData, BaseDataElement)}
_SHOWN = 1000


def to_plain(value: Any) -> Any:
    """None, bool, int, float, str, tensor, list or dict of those; tensors are copied to the host.

    What is none of the known classes becomes a text that describes it, which :func:`from_plain` gives back as a text:
    a batch is saved for what can be said of it, and one odd entry of the meta information must not prevent that.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, Tensor):
        # a copy: a view would bring the whole memory that it looks into
        return value.detach().to('cpu', copy=True).contiguous()
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, tuple):
        return {_KIND: 'tuple', 'items': [to_plain(item) for item in value]}
    if isinstance(value, Mapping):
        return {_KIND: 'dict', 'items': [[to_plain(key), to_plain(item)] for key, item in value.items()]}
    for cls, take_apart in _TAKE_APART.items():
        if isinstance(value, cls):
            return take_apart(value)
    return {_KIND: 'text', 'text': f'{type(value).__name__}: {value!r}'[:_SHOWN]}


def from_plain(value: Any) -> Any:
    """The value that :func:`to_plain` took apart.

    Raises:
        ValueError: a dict that says it is something unknown, as one of another version would.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind not in _PUT_TOGETHER:
        raise ValueError(
            f'The file holds an entry of kind {kind!r}. Expected one of {", ".join(_PUT_TOGETHER)}: it '
            'was written by another version of glipv2_mmdet, or is no file of a stopped step.'
        )
    return _PUT_TOGETHER[kind](value)


def _element_apart(element: BaseDataElement) -> dict:
    name = type(element).__name__
    return {
        _KIND: name if name in _ELEMENTS else 'BaseDataElement',
        'metainfo': to_plain(element.metainfo),
        'fields': to_plain(dict(element.items())),
    }


def _element_together(cls: type[BaseDataElement]) -> Callable[[dict], BaseDataElement]:
    return lambda plain: cls(metainfo=from_plain(plain['metainfo']), **from_plain(plain['fields']))


def _array_apart(array: np.ndarray) -> dict:
    if array.dtype.kind in _NUMBER_KINDS:
        # another byte order, or a negative stride, is nothing that torch takes
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder('=')).copy()
        return {_KIND: 'array', 'data': torch.from_numpy(array)}
    return {_KIND: 'objects', 'items': to_plain(array.tolist())}


def _polygons_together(plain: dict) -> PolygonMasks:
    return PolygonMasks(from_plain(plain['masks']), plain['height'], plain['width'])


_TAKE_APART: dict[type, Callable[[Any], dict]] = {
    np.ndarray: _array_apart,
    BaseDataElement: _element_apart,
    HorizontalBoxes: lambda boxes: {_KIND: 'HorizontalBoxes', 'tensor': to_plain(boxes.tensor)},
    BitmapMasks: lambda masks: {
        _KIND: 'BitmapMasks',
        'masks': torch.from_numpy(np.array(masks.masks, dtype=np.uint8)),
        'height': int(masks.height),
        'width': int(masks.width),
    },
    PolygonMasks: lambda masks: {
        _KIND: 'PolygonMasks',
        'masks': to_plain(masks.masks),
        'height': int(masks.height),
        'width': int(masks.width),
    },
    Prompt: lambda prompt: {
        _KIND: 'Prompt',
        'text': prompt.text,
        'phrases': to_plain(list(prompt.phrases)),
        'is_detection': bool(prompt.is_detection),
    },
    Phrase: lambda phrase: {_KIND: 'Phrase', 'name': phrase.name, 'spans': [list(span) for span in phrase.spans]},
}
_PUT_TOGETHER: dict[str, Callable[[dict], Any]] = {
    'tuple': lambda plain: tuple(from_plain(plain['items'])),
    'dict': lambda plain: {from_plain(key): from_plain(item) for key, item in plain['items']},
    'text': lambda plain: plain['text'],
    'array': lambda plain: plain['data'].numpy(),
    'objects': lambda plain: np.array(from_plain(plain['items']), dtype=object),
    'HorizontalBoxes': lambda plain: HorizontalBoxes(plain['tensor']),
    'BitmapMasks': lambda plain: BitmapMasks(plain['masks'].numpy(), plain['height'], plain['width']),
    'PolygonMasks': _polygons_together,
    'Prompt': lambda plain: Prompt(plain['text'], tuple(from_plain(plain['phrases'])), plain['is_detection']),
    'Phrase': lambda plain: Phrase(plain['name'], tuple(tuple(span) for span in plain['spans'])),
    **{name: _element_together(cls) for name, cls in _ELEMENTS.items()},
}
