"""What a model has to be run with, carried inside its file as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

#: Keys of the metadata of a model file.
SETTINGS_KEY, TOKENIZER_KEY = 'glipv2_mmdet', 'tokenizer'


@dataclass(frozen=True)
class Settings:
    """Everything between an image file and final boxes that is not in the graph.

    Attributes:
        version: of the package that exported the model.
        phrases: names of a fixed prompt, in the order of its scores; empty for a model that reads any prompt.
        max_tokens: longest prompt, start and end token included.
        resize: (longer, shorter) side an image is scaled into, its shape kept; None leaves it as it is.
        resize_with: ``'cv2'`` or ``'pillow'``, whose bilinear scaling the model was tested with.
        channel_order: ``'rgb'`` or ``'bgr'``.
        mean: per channel in that order, in 0..255.
        std: as ``mean``.
        pad_divisor: sides of the network input are multiples of it.
        strides: of the levels, fine to coarse.
        score_thr: phrase probability that counts, before centerness.
        nms_pre: most pairs of position and phrase per level; -1 for all.
        min_box_size: sides of a box are longer, in pixels; -1 for any.
        iou_threshold: a box goes when a better one of its phrase overlaps it more.
        max_per_image: most boxes of an image; -1 for all.
        mask_threshold: probability from which a pixel belongs to the object.
        image_size: (H, W) the graph is bound to; None for any multiple of ``pad_divisor``.
        resize_rounds: whether scaled sides are rounded, as mmcv does; GLIP's pipelines cut them off.
    """

    version: str
    phrases: tuple[str, ...]
    max_tokens: int
    resize: tuple[int, int] | None
    resize_with: str
    channel_order: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad_divisor: int
    strides: tuple[int, ...]
    score_thr: float
    nms_pre: int
    min_box_size: float
    iou_threshold: float
    max_per_image: int
    mask_threshold: float
    image_size: tuple[int, int] | None = None
    resize_rounds: bool = True

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values = json.loads(text)
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: str) -> Settings:
        """Those of a model file.

        Raises:
            ValueError: the file was not written by this package.
        """
        if SETTINGS_KEY not in metadata:
            raise ValueError(
                f'"{path}" has no "{SETTINGS_KEY}" in its metadata. Expected a model that "glipv2 export" has written.'
            )
        return cls.from_json(metadata[SETTINGS_KEY])
