"""What is raced: the same images, prompts and boxes for both sides. Nothing in here knows either model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from mmdet.datasets import CocoDataset, LVISV1Dataset
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

#: Eight words, two of them to be found.
CAPTION = dict(text='two cats and a remote on a couch', tokens_positive=[[[4, 8]], [[15, 21]]])
#: Eight words too, for training: mmdet's GLIP trains on class lists only.
EIGHT_WORDS = ('traffic light', 'fire hydrant', 'stop sign', 'baseball glove')
CHUNK_SIZE = 40
NUM_BOXES = 8


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Args:
        name: as ``--cases`` takes it.
        height: of the image, in pixels.
        width: of the image.
        prompt: ``'words'`` (eight of them), ``'coco'`` (80 classes) or ``'lvis'`` (1203 classes, 40 at a time).
        batch_size: images of a training step; 0 for inference on one image.
    """

    name: str
    height: int
    width: int
    prompt: str
    batch_size: int = 0

    @property
    def training(self) -> bool:
        return self.batch_size > 0

    @property
    def chunk_size(self) -> int:
        """Class names per prompt; -1 for all."""
        return CHUNK_SIZE if self.prompt == 'lvis' else -1

    def smaller(self) -> Case:
        """The same on a small image: for warming up, and for checking what takes minutes at full size."""
        return replace(self, height=self.height // 4, width=self.width // 4)

    def images(self) -> Tensor:
        """(B, 3, H, W), as they leave the data preprocessor; sides padded to multiples of 32."""
        generator = torch.Generator().manual_seed(self.height * self.width)
        images = torch.zeros(self.batch_size or 1, 3, *self._padded_shape)
        # coarse noise: at least as smooth as photographs, so that deformed sampling meets something like edges
        coarse = torch.randn(self.batch_size or 1, 3, self.height // 16 + 1, self.width // 16 + 1, generator=generator)
        images[..., : self.height, : self.width] = torch.nn.functional.interpolate(
            coarse, size=(self.height, self.width), mode='bilinear'
        )
        return images

    def samples(self) -> list[DetDataSample]:
        """What goes with each image, fresh each time; with boxes where it is trained on."""
        generator = torch.Generator().manual_seed(7)
        text = self._text()
        samples = []
        for _ in range(self.batch_size or 1):
            sample = DetDataSample(
                metainfo=dict(
                    img_shape=(self.height, self.width),
                    ori_shape=(self.height, self.width),
                    scale_factor=(1.0, 1.0),
                    pad_shape=self._padded_shape,
                    batch_input_shape=self._padded_shape,
                    **text,
                )
            )
            if self.training:
                extent = torch.tensor([self.width, self.height])
                sides = extent * (0.1 + 0.4 * torch.rand(NUM_BOXES, 2, generator=generator))
                corners = (extent - sides) * torch.rand(NUM_BOXES, 2, generator=generator)
                labels = torch.randint(len(text['text']), (NUM_BOXES,), generator=generator)
                sample.gt_instances = InstanceData(bboxes=torch.cat((corners, corners + sides), dim=1), labels=labels)
            samples.append(sample)
        return samples

    @property
    def _padded_shape(self) -> tuple[int, int]:
        return self.height + -self.height % 32, self.width + -self.width % 32

    def _text(self) -> dict:
        if self.prompt == 'words':
            return dict(text=EIGHT_WORDS, custom_entities=True) if self.training else dict(CAPTION)
        dataset = CocoDataset if self.prompt == 'coco' else LVISV1Dataset
        return dict(text=tuple(dataset.METAINFO['classes']), custom_entities=True)


CASES = {
    case.name: case
    for case in (
        Case('infer-480x640-words', 480, 640, 'words'),
        Case('infer-800x1333-words', 800, 1333, 'words'),
        Case('infer-480x640-coco', 480, 640, 'coco'),
        Case('infer-800x1333-coco', 800, 1333, 'coco'),
        Case('infer-480x640-lvis', 480, 640, 'lvis'),
        Case('train-480x640-words-b1', 480, 640, 'words', batch_size=1),
        Case('train-480x640-coco-b1', 480, 640, 'coco', batch_size=1),
        Case('train-480x640-words-b2', 480, 640, 'words', batch_size=2),
        Case('train-480x640-coco-b2', 480, 640, 'coco', batch_size=2),
    )
}
