"""From the fields of a tab to what it shows: checks, the model, the picture, the text in colours, the json file.

Nothing here knows gradio; whatever a visitor can do wrong is a ``ValueError`` with a sentence to show.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from glipv2_mmdet.apis.inferencer import GLIPv2Inferencer
from glipv2_mmdet.apis.results import Detections, Result
from glipv2_mmdet.demo.limits import Limits, check_number, check_phrases, check_text, read_image
from glipv2_mmdet.demo.upload_area import UploadArea
from glipv2_mmdet.demo.worker import ModelWorker
from glipv2_mmdet.text import Phrase, parse_prompt
from glipv2_mmdet.visualization.painting import paint
from glipv2_mmdet.visualization.palette import phrase_colour
from glipv2_mmdet.visualization.text_panel import phrase_panel

#: How a prompt is read.
CLASS_NAMES, SENTENCE = 'names of things', 'a sentence'
#: Boxes must score more than the threshold, so 1 would leave none.
MOST_THRESHOLD = 0.99
# Pictures are shown on a page: the numbers are in the pixels of the upload, the picture need not be
_SHOWN_SIDE = 1600
_TRIAL_TEXTS = {'detect': ('a thing',), 'segment': ('a thing',), 'ask': ('what is it?',), 'caption': ()}


@dataclass(frozen=True)
class View:
    """What a tab shows for one request.

    Attributes:
        picture: (H, W, 3) uint8 RGB; None of a model that says nothing about places.
        pieces: (text, label or None) of the prompt, question or caption, in order.
        colours: label → '#rrggbb', the colour of its boxes.
        summary: one line.
        json_file: path of the numbers.
        answers: answer → score, of a question.
    """

    picture: np.ndarray | None
    pieces: tuple[tuple[str, str | None], ...]
    colours: dict[str, str]
    summary: str
    json_file: str
    answers: dict[str, float] | None = None


class Handlers:
    """One method per tab, with the values of its fields as they came from the network.

    Args:
        models: task ('detect', 'segment', 'ask', 'caption') → model.
        limits: what a request may cost.
        area: where images are read from and json files are written to.
        worker: runs the models.
    """

    def __init__(
        self, models: dict[str, GLIPv2Inferencer], limits: Limits, area: UploadArea, worker: ModelWorker
    ) -> None:
        self.models = models
        self.limits = limits
        self.area = area
        self.worker = worker

    def try_models(self) -> None:
        """Runs each model once on a grey image: a model that cannot do its task is found before anybody waits for it.

        Raises:
            MissingHeadError: the text names models that can.
        """
        grey = np.full((64, 64, 3), 128, dtype=np.uint8)
        for task, model in self.models.items():
            getattr(model, task)(grey, *_TRIAL_TEXTS[task])

    def detect(self, image: str | None, prompt: str, kind: str, threshold: float, max_boxes: float) -> View:
        """Boxes of what a class list or a sentence names; ``kind`` is CLASS_NAMES or SENTENCE."""
        model = self.models['detect']
        return self._find(model.ground if kind == SENTENCE else model.detect, image, prompt, kind, threshold, max_boxes)

    def segment(self, image: str | None, prompt: str, kind: str, threshold: float, max_boxes: float) -> View:
        """As :meth:`detect`, with masks."""
        model = self.models['segment']
        call = partial(model.ground, masks=True) if kind == SENTENCE else model.segment
        return self._find(call, image, prompt, kind, threshold, max_boxes)

    def ask(self, image: str | None, question: str) -> View:
        """The likeliest answers to a question."""
        text = check_text(question, 'question', self.limits)
        pixels = self._image(image)
        answer, seconds = self._timed(lambda: self.models['ask'].ask(pixels, text))
        return self._view(
            answer,
            text,
            answer.detections,
            f'{answer.best} · {seconds:.2f}\u00a0s',
            answers=dict(zip(answer.answers, answer.scores, strict=True)),
        )

    def caption(self, image: str | None) -> View:
        """A sentence about the image, with boxes where the model grounds it."""
        pixels = self._image(image)
        caption, seconds = self._timed(lambda: self.models['caption'].caption(pixels))
        return self._view(caption, caption.text, caption.detections, f'{seconds:.2f}\u00a0s')

    def _find(
        self,
        call: Callable[..., Detections],
        image: str | None,
        prompt: str,
        kind: str,
        threshold: float,
        max_boxes: float,
    ) -> View:
        text = check_text(prompt, 'prompt', self.limits)
        check_phrases(parse_prompt(text, custom_entities=kind != SENTENCE), self.limits)
        threshold = check_number(threshold, 'threshold', 0.0, MOST_THRESHOLD)
        max_boxes = int(check_number(max_boxes, 'number of boxes', 1, self.limits.boxes))
        pixels = self._image(image)
        found, seconds = self._timed(lambda: call(pixels, text, threshold=threshold, max_boxes=max_boxes))
        return self._view(found, found.prompt, found, f'{_count(found, threshold)} · {seconds:.2f}\u00a0s')

    def _image(self, image: str | None) -> np.ndarray:
        if not image:
            raise ValueError('There is no image. Drop one on the field, or choose an example.')
        if not self.area.contains(image):
            raise ValueError('The image is not on the server any more. Upload it again.')
        return read_image(image, self.limits)

    def _timed(self, job: Callable[[], Any]) -> tuple[Any, float]:
        start = time.perf_counter()
        return self.worker.run(job), time.perf_counter() - start

    def _view(
        self, result: Result, text: str, found: Detections | None, summary: str, answers: dict[str, float] | None = None
    ) -> View:
        phrases = () if found is None else found.phrases
        json_file = self.area.new_file(f'{type(result).__name__.lower()}.json')
        json_file.write_text(result.to_json(indent=1), encoding='utf-8')
        return View(
            picture=None if found is None else _shown(paint(found.image, found.marks())),
            pieces=_pieces(text, phrases),
            colours={phrase.name: '#{:02x}{:02x}{:02x}'.format(*phrase_colour(k)) for k, phrase in enumerate(phrases)},
            summary=summary,
            json_file=str(json_file),
            answers=answers,
        )


def _shown(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture)
    image.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    return np.asarray(image)


def _count(found: Detections, threshold: float) -> str:
    """'3 boxes: red circle 2, blue square 1'."""
    if not len(found):
        return f'Nothing scores above {threshold:g}: lower the threshold, or use other words'
    counted = Counter(found.names).most_common()
    listed = ', '.join(f'{name} {number}' for name, number in counted[:10])
    more = f' and {len(counted) - 10} more' if len(counted) > 10 else ''
    return f'{len(found)} {"box" if len(found) == 1 else "boxes"}: {listed}{more}'


def _pieces(text: str, phrases: Sequence[Phrase]) -> tuple[tuple[str, str | None], ...]:
    """The text cut at the ends of its phrases."""
    pieces, at = [], 0
    for start, end, phrase in phrase_panel(text, phrases).spans:
        pieces += [(text[at:start], None), (text[start:end], phrases[phrase].name)]
        at = end
    pieces.append((text[at:], None))
    return tuple((piece, label) for piece, label in pieces if piece)
