"""The exported detector as one object: images and prompts in, boxes and masks out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from glipv2_mmdet.export.runtime.decode import final_boxes
from glipv2_mmdet.export.runtime.masks import paste
from glipv2_mmdet.export.runtime.preprocess import network_input, read_image
from glipv2_mmdet.export.runtime.prompts import PromptReader
from glipv2_mmdet.export.runtime.results import Detections
from glipv2_mmdet.export.runtime.settings import TOKENIZER_KEY, Settings

MASKS_FILE = 'masks.onnx'


class OnnxDetector:
    """Runs ``detector.onnx`` and, where it lies beside it, ``masks.onnx``.

    Args:
        path: the file, or its folder.
        threads: of onnxruntime; 0 lets it choose.
        providers: of onnxruntime; the CPU by default.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the package ``onnxruntime`` is not installed.
        ValueError: it was not written by ``glipv2 export``.
    """

    def __init__(
        self, path: str | Path, threads: int = 0, providers: Sequence[str] = ('CPUExecutionProvider',)
    ) -> None:
        onnxruntime = _onnxruntime()
        path = Path(path)
        path = path / 'detector.onnx' if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(
                f'There is no "{path}". Give the folder that "glipv2 export" has written, or the detector.onnx in it.'
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.settings = Settings.from_metadata(metadata, str(path))
        self.reader = None if self.settings.phrases else PromptReader(metadata[TOKENIZER_KEY], self.settings.max_tokens)
        has_levels = len(self.session.get_outputs()) > 3
        self.mask_session = None
        if has_levels and (path.parent / MASKS_FILE).is_file():
            self.mask_session = onnxruntime.InferenceSession(
                str(path.parent / MASKS_FILE), options, providers=list(providers)
            )

    def detect(
        self, image: np.ndarray | str | Path, prompt: str | Sequence[str] | None = None, threshold: float = 0.0
    ) -> Detections:
        """Find what a prompt names.

        Args:
            image: (H, W, 3) uint8 RGB, or a file.
            prompt: ``'cat . traffic light'`` or a list of names; none for a model with a fixed prompt.
            threshold: scores below are left out.

        Raises:
            ValueError: a wrong image or prompt.
        """
        image = read_image(image)
        pixels, image_size = network_input(image, self.settings)
        phrases, feeds, phrase_map = self._read(prompt)
        outputs = self.run(pixels, feeds)
        boxes, scores, labels = final_boxes(*outputs[:3], image_size, pixels.shape[2:], image.shape[:2], self.settings)
        kept = scores >= threshold
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        masks = None
        if self.mask_session is not None:
            word_map = outputs[3] if phrase_map is None else phrase_map
            masks = self._masks(
                outputs[-len(self.mask_session.get_inputs()) + 2 :],
                boxes,
                word_map[labels],
                image_size,
                image.shape[:2],
            )
        return Detections(boxes, scores, labels, phrases, masks)

    def run(self, pixels: np.ndarray, feeds: dict[str, np.ndarray] | None = None) -> list[np.ndarray]:
        """Raw outputs of the graph for a network input (1, 3, H, W); ``feeds`` are the other inputs by their names.

        Raises:
            ValueError: sides that are no multiples of the model's divisor, or another number of images.
        """
        divisor = self.settings.pad_divisor
        if (
            pixels.ndim != 4
            or pixels.shape[:2] != (1, 3)
            or any(side % divisor or side == 0 for side in pixels.shape[2:])
        ):
            raise ValueError(
                f'The network input has shape {pixels.shape}. Expected (1, 3, H, W) with H and W '
                f'multiples of {divisor}: pad the normalised image with zeros at its right and bottom.'
            )
        return self.session.run(None, {'image': pixels.astype(np.float32, copy=False), **(feeds or {})})

    def _read(
        self, prompt: str | Sequence[str] | None
    ) -> tuple[tuple[str, ...], dict[str, np.ndarray], np.ndarray | None]:
        """Names, the graph's other inputs, and the tokens of the phrases; the graph has them if they are fixed."""
        if self.reader is None:
            if prompt is not None:
                raise ValueError(
                    f'A prompt was given to a model that finds {len(self.settings.phrases)} fixed '
                    f'phrases ({", ".join(self.settings.phrases[:5])}, ...). Leave it away, or export '
                    'the model without --classes.'
                )
            return self.settings.phrases, {}, None
        if prompt is None:
            raise ValueError(
                'This model reads prompts, and none was given. Say what to look for, for example "cat . traffic light".'
            )
        tokens = self.reader(prompt)
        feeds = dict(token_ids=tokens.ids, token_mask=tokens.mask, phrase_map=tokens.phrase_map)
        return tokens.phrases, feeds, tokens.phrase_map

    def _masks(
        self,
        features: Sequence[np.ndarray],
        boxes: np.ndarray,
        word_map: np.ndarray,
        image_size: Sequence[int],
        original_size: Sequence[int],
    ) -> np.ndarray:
        """(R, H, W) masks of boxes in original pixels; ``features`` are the words and the levels."""
        if len(boxes) == 0:
            return np.zeros((0, *original_size), dtype=bool)
        factors = np.float32([image_size[1] / original_size[1], image_size[0] / original_size[0]] * 2)
        names = [given.name for given in self.mask_session.get_inputs()]
        values = (features[0], boxes * factors, word_map, *features[1:])
        (probs,) = self.mask_session.run(None, dict(zip(names, values, strict=True)))
        return paste(probs, boxes, original_size, self.settings.mask_threshold)


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            'Running ONNX files needs the package onnxruntime. Install it: pip install onnxruntime'
        ) from error
    return onnxruntime
