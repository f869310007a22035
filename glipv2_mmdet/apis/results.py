"""What a user gets back: boxes, masks, answers and captions of one image, as arrays, pictures, json or COCO records.

Everything here is numpy and plain Python: a result needs no model and no GPU, and can be pickled.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from glipv2_mmdet.text import Phrase
from glipv2_mmdet.visualization.painting import Marks, paint
from glipv2_mmdet.visualization.text_panel import PanelText, answer_panel, phrase_panel

_NOTHING = Marks(labels=(), names=())


class Result(ABC):
    """What all results can do. Each has ``image`` (H, W, 3) uint8 RGB and ``source``, where it came from."""

    image: np.ndarray
    source: str

    @abstractmethod
    def draw(self) -> np.ndarray:
        """The picture with what was found, (H', W', 3) uint8 RGB; small ones are enlarged, the text is below."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Numbers and texts, without the image; ready for ``json.dump``."""

    def to_json(self, indent: int | None = None) -> str:
        """:meth:`to_dict` as text; masks are run lengths."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def save(self, path: str | PathLike) -> Path:
        """Write :meth:`draw` to a file; its ending says the format. Missing folders are made.

        Raises:
            ValueError: an ending that no picture has.
        """
        path = Path(path)
        if path.suffix.lower() not in Image.registered_extensions():
            raise ValueError(
                f'"{path}" does not end like a picture. Expected for example .png or .jpg; numbers go '
                'through to_json().'
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.draw()).save(path)
        return path

    def show(self) -> None:
        """Show :meth:`draw`: in the cell of a notebook, otherwise with the picture viewer of the system."""
        picture = Image.fromarray(self.draw())
        ipython = sys.modules.get('IPython')
        if ipython is not None and ipython.get_ipython() is not None:
            ipython.display.display(picture)
        else:
            picture.show(title=self.source)

    def _repr_png_(self) -> bytes:
        """What a notebook shows for a result at the end of a cell."""
        buffer = BytesIO()
        Image.fromarray(self.draw()).save(buffer, format='PNG')
        return buffer.getvalue()

    def _header(self) -> dict[str, Any]:
        height, width = self.image.shape[:2]
        return {'source': self.source, 'height': height, 'width': width}


@dataclass(frozen=True, eq=False, repr=False)
class Detections(Result):
    """The boxes of N objects, best first, and what they are.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        source: path, address or name of the image.
        prompt: the text that the model read; spans of phrases count its characters.
        boxes: (N, 4) float32 xyxy in pixels of the image.
        scores: (N,) float32, 0 to 1.
        labels: (N,) int64, places in ``phrases``.
        phrases: K phrases with ``name`` and ``spans``; whatever was asked for, found or not.
        masks: (N, H, W) bool, or None of a model or call without masks.
    """

    image: np.ndarray
    source: str
    prompt: str
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    phrases: tuple[Phrase, ...]
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        listed = ', '.join(f'{name} {score:.2f}' for name, score in zip(self.names[:3], self.scores, strict=False))
        found = f'{len(self)} of {len(self.phrases)} phrases' if not listed else f'{len(self)}: {listed}'
        return f'{type(self).__name__}({self.source!r}, {found}{", ..." if len(self) > 3 else ""})'

    @property
    def names(self) -> tuple[str, ...]:
        """What each of the N objects is."""
        return tuple(self.phrases[label].name for label in self.labels)

    def select(self, keep: np.ndarray | Sequence[int] | slice) -> Detections:
        """Some of the objects; an index as in numpy: ``found.select(found.scores > 0.5)``."""
        return replace(
            self,
            boxes=self.boxes[keep],
            scores=self.scores[keep],
            labels=self.labels[keep],
            masks=None if self.masks is None else self.masks[keep],
        )

    def draw(self) -> np.ndarray:
        return paint(self.image, self.marks(), self._panel())

    def marks(self) -> Marks:
        """What to paint on the image."""
        return Marks(
            labels=self.labels.tolist(), names=self.names, boxes=self.boxes, scores=self.scores, masks=self.masks
        )

    def to_dict(self) -> dict[str, Any]:
        """``{source, height, width, prompt, phrases: [{name, spans}], objects: [{phrase, name, score, box, mask?}]}``.

        ``box`` is xyxy, ``phrase`` a place in ``phrases``, ``mask`` COCO's ``{size, counts}``.
        """
        objects = [
            {'phrase': int(label), 'name': name, 'score': _rounded(score), 'box': [_rounded(side) for side in box]}
            for label, name, score, box in zip(self.labels, self.names, self.scores, self.boxes, strict=True)
        ]
        if self.masks is not None:
            for found, mask in zip(objects, self.masks, strict=True):
                found['mask'] = _run_lengths(mask)
        phrases = [{'name': phrase.name, 'spans': [list(span) for span in phrase.spans]} for phrase in self.phrases]
        return {**self._header(), 'prompt': self.prompt, 'phrases': phrases, 'objects': objects}

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Result records as ``pycocotools`` reads them (``COCO.loadRes``).

        Args:
            image_id: of this image in the annotation file.
            category_ids: id of each of the K phrases there; by default they are counted from 1.

        Raises:
            ValueError: another number of ids than phrases.
        """
        ids = list(category_ids if category_ids is not None else range(1, len(self.phrases) + 1))
        if len(ids) != len(self.phrases):
            raise ValueError(
                f'category_ids has {len(ids)} entries, the prompt {len(self.phrases)} phrases '
                f'({", ".join(phrase.name for phrase in self.phrases[:5])}). Give one id per phrase.'
            )
        records = []
        for k, (label, score, (left, top, right, bottom)) in enumerate(
            zip(self.labels, self.scores.tolist(), self.boxes.tolist(), strict=True)
        ):
            record = {
                'image_id': image_id,
                'category_id': ids[label],
                'score': score,
                'bbox': [left, top, right - left, bottom - top],
            }
            if self.masks is not None:
                record['segmentation'] = _run_lengths(self.masks[k])
            records.append(record)
        return records

    def to_supervision(self) -> Any:
        """``supervision.Detections`` with ``class_name`` and, where there are masks, ``mask``.

        Raises:
            ImportError: the package is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                'to_supervision() needs the package supervision, which is not installed. '
                'Install it: pip install supervision'
            ) from error
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels.astype(int),
            mask=self.masks,
            data={'class_name': np.array(self.names, dtype=str)},
        )

    def _panel(self) -> tuple[PanelText, ...]:
        return (phrase_panel(self.prompt.rstrip(), self.phrases),)


@dataclass(frozen=True, eq=False, repr=False)
class Grounding(Detections):
    """:class:`Detections` of a sentence: ``prompt`` is the sentence, ``phrases`` are pieces of it."""

    def by_phrase(self) -> Iterator[tuple[Phrase, Detections]]:
        """Each phrase of the sentence with its objects, in text order; some have none."""
        for place in sorted(range(len(self.phrases)), key=lambda place: self.phrases[place].spans):
            yield self.phrases[place], self.select(self.labels == place)


@dataclass(frozen=True, eq=False, repr=False)
class Answer(Result):
    """The answer to one question about one image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        source: path, address or name of the image.
        question: as it was asked.
        answers: the likeliest ones, best first.
        scores: one per answer, 0 to 1; they need not add up to one.
        detections: where question and answer are, of a model with a grounded VQA head; otherwise None.
    """

    image: np.ndarray
    source: str
    question: str
    answers: tuple[str, ...]
    scores: tuple[float, ...]
    detections: Detections | None = None

    def __repr__(self) -> str:
        return f'Answer({self.source!r}, {self.question!r}: {self.best!r} {self.scores[0]:.2f})'

    def __str__(self) -> str:
        return self.best

    @property
    def best(self) -> str:
        """The likeliest answer."""
        return self.answers[0]

    def draw(self) -> np.ndarray:
        found = self.detections
        panel = answer_panel(self.question, self.answers, self.scores, found.phrases if found else ())
        return paint(self.image, _NOTHING if found is None else found.marks(), panel)

    def to_dict(self) -> dict[str, Any]:
        """``{source, height, width, question, answers: [{answer, score}], detections?}``."""
        answers = [
            {'answer': answer, 'score': _rounded(score)}
            for answer, score in zip(self.answers, self.scores, strict=True)
        ]
        return {**self._header(), 'question': self.question, 'answers': answers, **_nested(self.detections)}

    def to_coco(self, question_id: int) -> dict[str, Any]:
        """The record that the VQA server takes: ``{question_id, answer}``."""
        return {'question_id': question_id, 'answer': self.best}


@dataclass(frozen=True, eq=False, repr=False)
class Caption(Result):
    """A sentence about an image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        source: path, address or name of the image.
        text: the sentence.
        score: what the search ranked by, a log probability per word; higher is better.
        detections: where its phrases are, of a model that grounds captions; otherwise None.
    """

    image: np.ndarray
    source: str
    text: str
    score: float
    detections: Detections | None = None

    def __repr__(self) -> str:
        return f'Caption({self.source!r}, {self.text!r})'

    def __str__(self) -> str:
        return self.text

    def draw(self) -> np.ndarray:
        found = self.detections
        panel = (phrase_panel(self.text, found.phrases if found else ()),) if self.text else ()
        return paint(self.image, _NOTHING if found is None else found.marks(), panel)

    def to_dict(self) -> dict[str, Any]:
        """``{source, height, width, caption, score, detections?}``."""
        return {**self._header(), 'caption': self.text, 'score': _rounded(self.score), **_nested(self.detections)}

    def to_coco(self, image_id: int) -> dict[str, Any]:
        """The record that COCO's caption server takes: ``{image_id, caption}``."""
        return {'image_id': image_id, 'caption': self.text}


def _nested(detections: Detections | None) -> dict[str, Any]:
    if detections is None:
        return {}
    content = detections.to_dict()
    return {'detections': {key: content[key] for key in ('prompt', 'phrases', 'objects')}}


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed form, which json can hold."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {'size': [int(side) for side in encoded['size']], 'counts': encoded['counts'].decode('ascii')}


def _rounded(value: float) -> float:
    """Four digits behind the point: a ten-thousandth of a pixel is noise."""
    return round(float(value), 4)
