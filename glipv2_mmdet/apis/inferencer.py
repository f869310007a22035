"""One object for all tasks: images and words in, typed results out.

    model = GLIPv2Inferencer()
    found = model.detect('photo.jpg', 'dog . person')
    found.save('found.png')

What an image is: ``images.py``. Names, configs and weights: ``model_loading.py``. Results: ``results.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from os import PathLike
from typing import Any, TypeVar

import cv2
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from tqdm import tqdm

from glipv2_mmdet.apis.call_settings import CallSettings, view_with_settings
from glipv2_mmdet.apis.images import Decoder, ImageInputError, ImageInputs, InputImage
from glipv2_mmdet.apis.model_loading import load_model
from glipv2_mmdet.apis.model_names import MODEL_CONFIGS, names_with
from glipv2_mmdet.apis.pairing import pair, phrases_per_caption, texts
from glipv2_mmdet.apis.queries import Query, caption_query, class_query, question_query
from glipv2_mmdet.apis.result_making import answer_of, caption_result_of, detections_of
from glipv2_mmdet.apis.results import Answer, Caption, Detections, Grounding
from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL
from glipv2_mmdet.models import GLIPv2
from glipv2_mmdet.models.detectors.tuned_prompts import tuning_of
from glipv2_mmdet.text import PromptError

R = TypeVar('R', Detections, Grounding, Answer, Caption)
#: What a call gives: a result for one image, a list for several, an iterator for a video or with ``stream``.
Results = R | list[R] | Iterator[R]


class MissingHeadError(ValueError):
    """The model cannot do what it was asked; the text names models that can."""


class GLIPv2Inferencer:
    """Detects, segments, grounds, answers and captions.

    Images are given as a path, an address (http, https), an RGB array (H, W, 3) of uint8, a PIL image, a folder, a
    pattern such as ``'shots/*.jpg'``, a video file, a list of these, or a generator of these. One image gives one
    result; a list, folder or pattern a list; a video (and anything with ``stream=True``) an iterator that reads as it
    goes: at most ``batch_size`` images ahead, so a generator may be endless, such as a camera.

    Calls do not change the model, so one object serves several threads.

    Args:
        model: short name such as ``'glipv2-t'`` (all of them: ``GLIPv2Inferencer.names()``), path of a config,
            a config, or a folder of :meth:`save_pretrained`. By default GLIPv2-mini, a small model that was trained on
            photos and comes with the package.
        weights: ``.pth`` or ``.safetensors``. Without, those of the package, of the folder or of ``glipv2 download``;
            where there are none, weights are random and a warning says so.
        device: 'cpu', 'cuda:0', ...; by default the GPU where there is one.
        tuned_prompt: file of a tuned prompt; :meth:`detect` and :meth:`segment` then need no prompt.

    Raises:
        FileNotFoundError: no such weights.
        CheckpointError: the weights do not fit the model.
        ValueError: no such model.
    """

    def __init__(
        self,
        model: str | PathLike | Config = DEFAULT_MODEL,
        weights: str | PathLike | None = None,
        device: str | torch.device | None = None,
        tuned_prompt: str | PathLike | None = None,
    ) -> None:
        loaded = load_model(model, weights, device)
        self.model: GLIPv2 = loaded.model
        self.config = loaded.config
        self.pipeline = loaded.pipeline
        self._decoder = Decoder.of_step(next(filter(_loads_image, self.pipeline), {}))
        # nothing is annotated, and the image is in memory
        self._transforms = Compose([dict(step) for step in self.pipeline if not _step_name(step).startswith('Load')])
        if tuned_prompt is not None:
            self.model.set_prompt(tuned_prompt)

    @property
    def default_threshold(self) -> float:
        """Minimum score of a box where a call names none: that of the model's config, or 0.3."""
        return float(self.model.test_cfg.get('default_threshold', 0.3))

    @staticmethod
    def names() -> tuple[str, ...]:
        """Short names of models."""
        return tuple(MODEL_CONFIGS)

    def detect(
        self,
        images: Any,
        prompt: str | Iterable[str] | None = None,
        *,
        threshold: float | None = None,
        max_boxes: int = 100,
        nms_iou: float | None = None,
        batch_size: int = 1,
        progress: bool = False,
        stream: bool = False,
        frame_step: int = 1,
    ) -> Results[Detections]:
        """Boxes of what the prompt names.

        Args:
            images: see the class.
            prompt: ``'cat . remote'`` or ``['cat', 'remote']``; long lists are split as the text encoder needs it.
                None with a tuned prompt.
            threshold: minimum score of a box, from 0 to below 1; by default the model's (:attr:`default_threshold`).
            max_boxes: most boxes per image.
            nms_iou: boxes of one phrase that overlap more are dropped; by default as in the config.
            batch_size: images that pass through the network together. Images of a batch are padded to one size,
                which changes scores in the last digits unless all have the same size.
            progress: show a bar.
            stream: give an iterator instead of a list; it reads at most ``batch_size`` images ahead.
            frame_step: take every n-th frame of a video.

        Raises:
            PromptError: the prompt names nothing.
            ImageInputError: something that is no image, or one that is too narrow.
            FileNotFoundError: there is no such file, or none that fits the pattern.
            FetchError: an address that gives no image.
            MissingHeadError: the model cannot find boxes.
            ValueError: a setting of another type or out of range (:class:`CallSettings`).
        """
        call = CallSettings(
            threshold=self.default_threshold if threshold is None else threshold,
            max_boxes=max_boxes,
            nms_iou=nms_iou,
            batch_size=batch_size,
            frame_step=frame_step,
            progress=progress,
            stream=stream,
        )
        view = self._box_view(call, without=('mask_head',))
        query = self._class_query(prompt)
        return self._run(view, images, query, partial(detections_of, threshold=call.threshold), call)

    def segment(
        self,
        images: Any,
        prompt: str | Iterable[str] | None = None,
        *,
        threshold: float | None = None,
        max_boxes: int = 100,
        nms_iou: float | None = None,
        mask_threshold: float | None = None,
        batch_size: int = 1,
        progress: bool = False,
        stream: bool = False,
        frame_step: int = 1,
    ) -> Results[Detections]:
        """Boxes and masks of what the prompt names.

        Args:
            mask_threshold: probability from which a pixel belongs to the object; by default as in the config.
            images, prompt, threshold, max_boxes, nms_iou, batch_size, progress, stream, frame_step: as in
                :meth:`detect`.

        Raises:
            MissingHeadError: the model has no mask head.
            PromptError, ImageInputError, ValueError: as in :meth:`detect`.
        """
        call = CallSettings(
            threshold=self.default_threshold if threshold is None else threshold,
            max_boxes=max_boxes,
            nms_iou=nms_iou,
            mask_threshold=mask_threshold,
            batch_size=batch_size,
            frame_step=frame_step,
            progress=progress,
            stream=stream,
        )
        if self.model.mask_head is None:
            raise _missing('mask_head', 'masks', ('-mask',))
        view = self._box_view(call, mask_thr_binary=call.mask_threshold, rle_masks=False)
        query = self._class_query(prompt)
        return self._run(view, images, query, partial(detections_of, threshold=call.threshold), call)

    def ground(
        self,
        images: Any,
        captions: str | Sequence[str],
        *,
        phrases: Sequence | int | None = None,
        threshold: float | None = None,
        max_boxes: int = 100,
        nms_iou: float | None = None,
        masks: bool = False,
        batch_size: int = 1,
        progress: bool = False,
        stream: bool = False,
        frame_step: int = 1,
    ) -> Results[Grounding]:
        """Boxes of the phrases of a sentence.

        Args:
            captions: one sentence for all images, or one for each of a list. Several for one image give a list.
            phrases: words of the sentence to look for, such as ``['a dog', 'the ball']``, or their character ranges
                ``[[[0, 5]], [[14, 22]]]``, or -1 for the sentence as a whole; one such entry per sentence where
                several are given. By default its noun phrases.
            masks: masks, too.
            images, threshold, max_boxes, nms_iou, batch_size, progress, stream, frame_step: as in :meth:`detect`.

        Raises:
            MissingHeadError: the model cannot find boxes, or has no mask head and was asked for masks.
            PromptError: a sentence without words, or a phrase that is not in it.
            ImageInputError, ValueError: as in :meth:`detect`.
        """
        call = CallSettings(
            threshold=self.default_threshold if threshold is None else threshold,
            max_boxes=max_boxes,
            nms_iou=nms_iou,
            batch_size=batch_size,
            frame_step=frame_step,
            progress=progress,
            stream=stream,
        )
        if masks and self.model.mask_head is None:
            raise _missing('mask_head', 'masks', ('-mask',))
        view = self._box_view(call, without=() if masks else ('mask_head',), rle_masks=False)
        if isinstance(captions, str):
            queries = caption_query(captions, phrases)
        else:
            captions = texts(captions, 'sentence')
            wanted = phrases_per_caption(phrases, captions)
            queries = [caption_query(*asked) for asked in zip(captions, wanted, strict=True)]
        make = partial(detections_of, threshold=call.threshold, kind=Grounding)
        return self._run(view, images, queries, make, call)

    def ask(
        self,
        images: Any,
        questions: str | Sequence[str],
        *,
        num_answers: int = 5,
        threshold: float | None = None,
        max_boxes: int = 100,
        batch_size: int = 1,
        progress: bool = False,
        stream: bool = False,
        frame_step: int = 1,
    ) -> Results[Answer]:
        """Answers to questions; with a grounded VQA head, also where they are.

        Args:
            questions: one for all images, or one for each of a list. Several for one image give a list.
            num_answers: how many answers to return, likeliest first.
            threshold, max_boxes: of the boxes of a grounded head.
            images, batch_size, progress, stream, frame_step: as in :meth:`detect`.

        Raises:
            MissingHeadError: the model has no VQA head.
            PromptError: a question without words.
            ImageInputError, ValueError: as in :meth:`detect`.
        """
        call = CallSettings(
            threshold=self.default_threshold if threshold is None else threshold,
            max_boxes=max_boxes,
            num_answers=num_answers,
            batch_size=batch_size,
            frame_step=frame_step,
            progress=progress,
            stream=stream,
        )
        head = self.model.vqa_head
        if head is None:
            raise _missing('vqa_head', 'answers', ('-vqa',))
        token = self.model.language_model.tokenizer.answer_token if head.grounded else None
        make_query = partial(question_query, answer_token=token)
        queries = (
            make_query(questions) if isinstance(questions, str) else [*map(make_query, texts(questions, 'question'))]
        )
        view = view_with_settings(
            self.model,
            without=('mask_head',),
            num_answers=call.num_answers,
            max_per_img=call.max_boxes,
            score_thr=self._phrase_threshold(call.threshold),
        )
        return self._run(view, images, queries, partial(answer_of, threshold=call.threshold), call)

    def caption(
        self,
        images: Any,
        *,
        beam_size: int | None = None,
        max_words: int | None = None,
        threshold: float | None = None,
        max_boxes: int = 100,
        batch_size: int = 1,
        progress: bool = False,
        stream: bool = False,
        frame_step: int = 1,
    ) -> Results[Caption]:
        """A sentence about each image; where the model grounds captions, also where its phrases are.

        Args:
            beam_size, max_words: of the search; by default as in the config.
            threshold, max_boxes: of the boxes of phrases.
            images, batch_size, progress, stream, frame_step: as in :meth:`detect`.

        Raises:
            MissingHeadError: the model has no caption head.
            ImageInputError, ValueError: as in :meth:`detect`.
        """
        call = CallSettings(
            threshold=self.default_threshold if threshold is None else threshold,
            max_boxes=max_boxes,
            beam_size=beam_size,
            max_words=max_words,
            batch_size=batch_size,
            frame_step=frame_step,
            progress=progress,
            stream=stream,
        )
        if self.model.caption_head is None:
            raise _missing('caption_head', 'captions', ('-caption',))
        search = {
            name: value
            for name, value in (('beam_size', call.beam_size), ('max_words', call.max_words))
            if value is not None
        }
        view = view_with_settings(
            self.model,
            without=('mask_head',),
            max_per_img=call.max_boxes,
            score_thr=self._phrase_threshold(call.threshold),
            caption={**self.model.test_cfg.get('caption', {}), **search},
        )
        return self._run(view, images, Query(None), partial(caption_result_of, threshold=call.threshold), call)

    def save_pretrained(self, folder: str | PathLike) -> None:
        """Write a folder that ``GLIPv2Inferencer(folder)`` opens, here or on another machine, without other files.

        It has ``model.safetensors``, ``config.json``, the vocabulary and a README. Opening it runs no code from it.

        Raises:
            FileExistsError: the folder has other files.
        """
        from glipv2_mmdet.apis.pretrained import save_pretrained

        save_pretrained(self.model, self.config, self.pipeline, folder)

    @classmethod
    def from_pretrained(cls, folder: str | PathLike, device: str | torch.device | None = None) -> GLIPv2Inferencer:
        """A model from a folder of :meth:`save_pretrained`.

        Raises:
            FileNotFoundError: it is no such folder.
            CheckpointError: its weights do not fit its config.
        """
        from glipv2_mmdet.apis.pretrained import check_pretrained

        check_pretrained(folder)
        return cls(folder, device=device)

    def _run(
        self,
        view: GLIPv2,
        images: Any,
        queries: Query | list[Query],
        make: Callable[[DetDataSample, InputImage, Query], R],
        call: CallSettings,
    ) -> Results[R]:
        inputs = ImageInputs(images, self._decoder, call.frame_step)
        pairs, total = pair(inputs, queries)
        bar = tqdm(total=None if inputs.has_video else total, disable=not call.progress, unit='image')
        results = self._results(view, pairs, make, call.batch_size, bar)
        if inputs.is_single and isinstance(queries, Query):
            return next(results)
        return results if call.stream or inputs.has_video else list(results)

    def _results(
        self,
        view: GLIPv2,
        pairs: Iterator[tuple[InputImage, Query]],
        make: Callable[[DetDataSample, InputImage, Query], R],
        batch_size: int,
        bar: tqdm,
    ) -> Iterator[R]:
        with bar:
            while batch := list(islice(pairs, batch_size)):
                samples = pseudo_collate([self._prepare(image, query) for image, query in batch])
                with torch.no_grad():
                    predicted = view.test_step(samples)
                for sample, (image, query) in zip(predicted, batch, strict=True):
                    yield make(sample.cpu(), image, query)
                    bar.update()

    def _prepare(self, image: InputImage, query: Query) -> dict[str, Any]:
        """What the data loader would hand to the model for this image."""
        bgr = image.rgb[..., ::-1].copy()  # the order of mmcv's loading
        shape = bgr.shape[:2]
        try:
            packed = self._transforms(
                dict(
                    img=bgr,
                    img_path=image.source,
                    img_id=0,
                    img_shape=shape,
                    ori_shape=shape,
                    height=shape[0],
                    width=shape[1],
                    instances=[],
                )
            )
        except (cv2.error, ValueError, ZeroDivisionError) as error:
            raise ImageInputError(
                f'"{image.source}" of {shape[1]} x {shape[0]} pixels cannot be brought to the size the model reads '
                f'({" ".join(str(error).split())}). A long, narrow image is left with less than a pixel on its shorter '
                'side: cut it into pieces.'
            ) from error
        packed['data_samples'].set_metainfo(query.metainfo())
        return packed

    def _class_query(self, prompt: str | Iterable[str] | None) -> Query:
        if prompt is not None:
            return class_query(prompt)
        tuning = tuning_of(self.model, DetDataSample())
        if tuning is None or tuning.is_positional:
            raise PromptError(
                'There is no prompt. Say what to look for: "cat . remote" or ["cat", "remote"]; only a '
                'prompt that was tuned on classes (tuned_prompt=...) brings its own.'
            )
        return Query(tuning.prompt, text=None)

    def _box_view(self, call: CallSettings, without: tuple[str, ...] = (), **test_cfg: Any) -> GLIPv2:
        head = self.model.vqa_head
        if head is not None and not head.grounded:
            raise MissingHeadError(
                'This model answers questions only: its VQA head is not grounded, so nothing in it '
                'was trained to find boxes. Use glipv2-t or glipv2-nano, or a grounded one: '
                f'{", ".join(names_with(["-grounded-vqa"]))}.'
            )
        return view_with_settings(
            self.model,
            without=without,
            max_per_img=call.max_boxes,
            score_thr=self._phrase_threshold(call.threshold),
            nms=None if call.nms_iou is None else dict(type='nms', iou_threshold=call.nms_iou),
            **test_cfg,
        )

    def _phrase_threshold(self, threshold: float) -> float:
        """The head drops phrase scores before it multiplies centerness, at most 1: sqrt(p * c) > t needs p > t²."""
        return min(self.model.test_cfg.get('score_thr', 0.0), threshold**2)


def _missing(head: str, what: str, endings: Sequence[str]) -> MissingHeadError:
    names = names_with(endings)
    configs = ', '.join(f'{name} (configs/glipv2/{MODEL_CONFIGS[name]})' for name in (names[0], names[-1]))
    return MissingHeadError(
        f'This model has no {head}, so it makes no {what}. Use a model with one and weights that '
        f'were trained with it: {configs}.'
    )


def _step_name(step: Any) -> str:
    return str(step.get('type', '')).split('.')[-1]


def _loads_image(step: Any) -> bool:
    return _step_name(step).startswith('LoadImage')
