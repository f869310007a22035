"""Paints what was found for referring phrases: python tools/show_referring.py CONFIG CHECKPOINT --out DIR.

One picture per phrase, half of them for one object and half for several: the union of the masks above --score-thr in
colour, the outline of what the phrase means in white, the phrase and the IoU on top.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import glipv2_mmdet  # noqa: F401

# isort: split
import cv2
import numpy as np
from mmdet.apis import init_detector
from mmdet.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate

from glipv2_mmdet.evaluation import PhraseCutMetric
from glipv2_mmdet.image_decoding import decode_rgb

COLOUR = (255, 0, 255)
SIDE = 480  # shorter side of the painted picture, without the text
BAR = 30  # height of the text above it


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='config whose test data are referring phrases')
    parser.add_argument('checkpoint')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    parser.add_argument('--count', type=int, default=12, help='number of phrases')
    parser.add_argument('--score-thr', type=float, default=0.3)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to replace in the config')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    model = init_detector(cfg, args.checkpoint, device=args.device, palette='random')
    data = DATASETS.build(cfg.test_dataloader.dataset)
    args.out.mkdir(parents=True, exist_ok=True)
    for index in choose(data, args.count):
        sample = model.test_step(pseudo_collate([data[index]]))[0]
        metric = PhraseCutMetric(score_thr=args.score_thr)
        metric.process({}, [sample.to_dict()])
        iou = metric.compute_metrics(metric.results)['mIoU']
        expected, predicted = metric.masks(sample.to_dict())
        words = re.sub(r'\W+', '_', sample.text).strip('_')
        file = args.out / f'{Path(sample.img_path).stem}_{sample.task_id}_{words}.png'
        picture = decode_rgb(Path(sample.img_path).read_bytes(), sample.img_path)[..., ::-1].copy()
        cv2.imwrite(str(file), paint(picture, expected, predicted, f'{sample.text}: {iou:.2f}'))
        print(f'{file}: IoU {iou:.2f}, {len(sample.instances)} objects', flush=True)


def choose(data: object, count: int) -> list[int]:
    """Indices of phrases from all over the data: the first half for one object, the second for several."""
    numbers = np.array([len(data.get_data_info(index)['instances']) for index in range(len(data))])
    chosen = []
    for indices, wanted in (
        (np.flatnonzero(numbers == 1), count - count // 2),
        (np.flatnonzero(numbers > 1), count // 2),
    ):
        places = np.linspace(0, len(indices) - 1, min(wanted, len(indices)))
        chosen += indices[places.astype(int)].tolist()
    return chosen


def paint(image: np.ndarray, expected: np.ndarray, predicted: np.ndarray, text: str) -> np.ndarray:
    """The enlarged picture with the found pixels tinted and what the phrase means outlined."""
    scale = max(1, round(SIDE / min(image.shape[:2])))
    size = image.shape[1] * scale, image.shape[0] * scale
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    expected, predicted = (
        cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in (expected, predicted)
    )
    tinted = image.copy()
    tinted[predicted > 0] = COLOUR
    image = cv2.addWeighted(tinted, 0.45, image, 0.55, 0)
    outlines, _ = cv2.findContours(expected, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, outlines, -1, (255, 255, 255), 2)
    bar = np.zeros((BAR, image.shape[1], 3), dtype=np.uint8)
    cv2.putText(bar, text, (6, BAR - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate((bar, image))


if __name__ == '__main__':
    main()
