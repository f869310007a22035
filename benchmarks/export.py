"""Exported files against the detector in torch: same boxes, size of the files, time of the network.

    python benchmarks/export.py --json benchmarks/results/export.json

The detector is the quickstart checkpoint with the mask head of configs/glipv2/glipv2_nano_shapes_masks.py, read on
validation images of the shapes data; boxes and masks are compared as a user gets them, from the image on. The network
is timed alone, on one image size, torch and onnxruntime in turn. --tiny adds GLIPv2-T with random weights, which can be
timed but finds nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401
from benchmarks.fusion import alternate, ratio  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402
from glipv2_mmdet.apis.model_loading import LoadedModel, load_model  # noqa: E402
from glipv2_mmdet.export import OnnxDetector, export_onnx  # noqa: E402
from glipv2_mmdet.models import GLIPv2  # noqa: E402
from glipv2_mmdet.text import prompt_from_classes  # noqa: E402

NANO = ROOT / 'configs/glipv2/glipv2_nano_shapes_masks.py'
TINY = ROOT / 'configs/glipv2/glipv2_t_coco_zero_shot.py'
IMAGES = ROOT / 'data/shapes/images/val'
NANO_SIZE, TINY_SIZE = (160, 160), (480, 640)
#: Class names of the tiny model's prompt; 27 tokens.
TINY_NAMES = (
    'person',
    'bicycle',
    'car',
    'motorcycle',
    'airplane',
    'bus',
    'train',
    'truck',
    'boat',
    'traffic light',
    'fire hydrant',
    'stop sign',
)
FORMS = {'any_prompt': False, 'fixed_prompt': True}


def main() -> int:
    args = parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter('ignore')
    config = Config.fromfile(NANO)
    nano = load_model(config, args.weights, 'cpu')
    figures = {}
    for form, fixed in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            runner = export(nano, folder, config.classes, fixed, args.threads, figures, f'nano_{form}')
            compare(
                nano,
                runner,
                sorted(IMAGES.glob('*.jpg'))[: args.images],
                config.classes,
                fixed,
                figures,
                f'nano_{form}',
            )
            race(nano.model, runner, config.classes, fixed, NANO_SIZE, args.repeats, figures, f'nano_{form}')
    for form, fixed in FORMS.items() if args.tiny else ():
        torch.manual_seed(0)
        tiny = load_model(str(TINY), None, 'cpu')
        with tempfile.TemporaryDirectory() as folder:
            runner = export(tiny, folder, TINY_NAMES, fixed, args.threads, figures, f'tiny_{form}')
            race(tiny.model, runner, TINY_NAMES, fixed, TINY_SIZE, args.repeats, figures, f'tiny_{form}')
    setup = describe_setup('export', args)
    publish({**figures, **setup}, table(figures, setup, args), args.json)
    return 0


def export(
    loaded: LoadedModel,
    folder: str,
    names: Sequence[str],
    fixed: bool,
    threads: int,
    figures: dict[str, float],
    key: str,
) -> OnnxDetector:
    path = export_onnx(loaded.model, loaded.pipeline, folder, names if fixed else None, fixed)
    figures[f'{key}_megabytes'] = round(path.stat().st_size / 1e6, 1)
    return OnnxDetector(path, threads=threads)


def compare(
    loaded: LoadedModel,
    runner: OnnxDetector,
    files: Iterable[Path],
    names: Sequence[str],
    fixed: bool,
    figures: dict[str, float],
    key: str,
) -> None:
    """Boxes from the image file on: smallest IoU, largest score difference, smallest mask IoU, boxes compared."""
    from mmdet.apis import inference_detector

    loaded.model.cfg = Config(
        dict(test_dataloader=dict(dataset=dict(pipeline=[dict(step) for step in loaded.pipeline])))
    )
    overlaps, differences, mask_overlaps, other_places = [1.0], [0.0], [1.0], 0
    for file in files:
        image = cv2.imread(str(file))
        expected = inference_detector(loaded.model, image, text_prompt=list(names), custom_entities=True)
        expected = expected.pred_instances.numpy()
        found = runner.detect(np.ascontiguousarray(image[..., ::-1]), None if fixed else names)
        if len(found.boxes) != len(expected.bboxes):
            raise RuntimeError(
                f'{file}: torch has {len(expected.bboxes)} boxes, the exported model {len(found.boxes)}.'
            )
        other_places += int((found.labels != expected.labels).sum())
        overlaps += box_overlap(found.boxes, expected.bboxes).tolist()
        differences += np.abs(found.scores - expected.scores).tolist()
        both = (found.masks & expected.masks).sum(axis=(1, 2))
        either = (found.masks | expected.masks).sum(axis=(1, 2))
        mask_overlaps += (both[either > 0] / either[either > 0]).tolist()
    figures |= {
        f'{key}_boxes_compared': len(overlaps) - 1,
        f'{key}_labels_that_differ': other_places,
        f'{key}_min_box_iou': min(overlaps),
        f'{key}_max_score_difference': max(differences),
        f'{key}_min_mask_iou': min(mask_overlaps),
    }


def box_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(R,) IoU of boxes in pairs."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    overlap = sides.clip(min=0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return overlap / (areas[0] + areas[1] - overlap)


def race(
    model: GLIPv2,
    runner: OnnxDetector,
    names: Sequence[str],
    fixed: bool,
    size: Sequence[int],
    repeats: int,
    figures: dict[str, float],
    key: str,
) -> None:
    """Times of the network alone. With a fixed prompt torch, too, has its text encoded beforehand."""
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    prompt = prompt_from_classes(names)
    encoded = model.language_model.encode([prompt])
    pixels = image.numpy()
    feeds = {}
    if not fixed:
        tokens = runner.reader(names)
        feeds = dict(token_ids=tokens.ids, token_mask=tokens.mask, phrase_map=tokens.phrase_map)

    def in_torch() -> torch.Tensor:
        with torch.no_grad():
            text = encoded if fixed else model.language_model.encode([prompt])
            return model.bbox_head(model.fusion(model.extract_feat(image), text)).centerness

    seconds = alternate([in_torch, lambda: runner.run(pixels, feeds)], repeats)
    centerness = in_torch()[0].sigmoid().numpy()
    figures |= {
        f'{key}_tokens': encoded.mask.shape[1],
        f'{key}_torch_ms': round(1000 * float(np.median(seconds[0])), 1),
        f'{key}_onnxruntime_ms': round(1000 * float(np.median(seconds[1])), 1),
        f'{key}_speedup': round(ratio(seconds[::-1]), 2),
        f'{key}_max_centerness_difference': float(np.abs(runner.run(pixels, feeds)[2] - centerness).max()),
    }


def table(figures: Mapping[str, float], setup: dict[str, object], args: argparse.Namespace) -> str:
    rows = []
    for key in (f'{model}_{form}' for model in ('nano', 'tiny') for form in FORMS):
        if f'{key}_torch_ms' not in figures:
            continue
        height, width = NANO_SIZE if key.startswith('nano') else TINY_SIZE
        compared = f'{key}_min_box_iou' in figures
        rows.append(
            (
                key.replace('_', ' '),
                f'{width} x {height}',
                figures[f'{key}_megabytes'],
                figures[f'{key}_torch_ms'],
                figures[f'{key}_onnxruntime_ms'],
                f'{figures[f"{key}_speedup"]:.2f}x',
                f'{figures[f"{key}_min_box_iou"]:.6f}' if compared else '-',
                f'{figures[f"{key}_max_score_difference"]:.0e}' if compared else '-',
                f'{figures[f"{key}_min_mask_iou"]:.4f}' if compared else '-',
            )
        )
    columns = (
        'model',
        'input',
        'detector.onnx, MB',
        'torch, ms',
        'onnxruntime, ms',
        'ratio',
        'smallest box IoU',
        'largest score difference',
        'smallest mask IoU',
    )
    return (
        f'Export, {args.images} images, {args.repeats} runs. {setup_sentence("export", setup)}\n\n'
        f'{markdown_table(columns, rows, text=("model",))}'
    )


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        '--weights',
        default='work_dirs/glipv2_nano_shapes_masks/iter_500.pth',
        help='checkpoint of configs/glipv2/glipv2_nano_shapes_masks.py',
    )
    parser.add_argument('--images', type=int, default=20, help='validation images to compare on')
    parser.add_argument('--repeats', type=int, default=20, help='counted runs of each form')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--tiny', action='store_true', help='time GLIPv2-T with random weights, too (4 GB of memory)')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
