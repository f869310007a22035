"""GLIPv2-mini as it ships, on photos it was not trained on: accuracy, words it never saw, speed, size.

    python benchmarks/mini.py --json benchmarks/results/mini.json

Photos in COCO layout below data/photos (docs/mini.md): VOC-labelled ones by the names of the training and by other
words, COCO's 80 classes, and an aquarium, whose classes are in no training data. AP is pycocotools'; "difficult" and
crowd boxes are ignored, as the files mark them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from pycocotools.coco import COCO  # noqa: E402
from pycocotools.cocoeval import COCOeval  # noqa: E402

from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402
from glipv2_mmdet import GLIPv2Inferencer  # noqa: E402
from glipv2_mmdet.apis.shipped_weights import DEFAULT_MODEL, shipped_weights  # noqa: E402
from glipv2_mmdet.export import OnnxDetector, export_onnx  # noqa: E402

PHOTOS = ROOT / 'data/photos'
#: Scores below are no detections, as in the config's own evaluation.
SCORE = 0.05
FREQUENT = ('cat', 'dog', 'horse', 'sheep', 'cow', 'person')
#: One word per class that is in no training prompt (neither VOC's nor COCO's names); chosen before it was tried.
OTHER_WORDS = {
    'aeroplane': 'jet',
    'bicycle': 'pushbike',
    'bird': 'fowl',
    'boat': 'ship',
    'bottle': 'flask',
    'bus': 'coach',
    'car': 'automobile',
    'cat': 'kitten',
    'chair': 'stool',
    'cow': 'cattle',
    'dining table': 'dinner table',
    'dog': 'puppy',
    'horse': 'pony',
    'motorbike': 'moped',
    'person': 'human',
    'potted plant': 'houseplant',
    'sheep': 'lamb',
    'sofa': 'settee',
    'train': 'locomotive',
    'tv monitor': 'television',
}
SPEED_SIZE = (240, 320)
SPEED_NAMES = ('person', 'dog', 'cat', 'horse', 'sheep', 'cow', 'car', 'bicycle', 'bird', 'chair')


@dataclass(frozen=True)
class Accuracy:
    """Box AP of one data set and prompt.

    Attributes:
        per_class: class name → (AP, AP50), classes without a box left out.
        num_images: evaluated.
        best_threshold: score from which on boxes have the best F1 at IoU 0.5, over all classes together.
        best_f1: that F1.
    """

    per_class: Mapping[str, tuple[float, float]]
    num_images: int
    best_threshold: float
    best_f1: float

    def mean(self, names: Sequence[str] | None = None) -> tuple[float, float]:
        """Mean AP and AP50 over all classes with boxes, or over some."""
        values = np.array([self.per_class[name] for name in names or self.per_class if name in self.per_class])
        return tuple(values.mean(axis=0).round(4).tolist())


def evaluate(model: GLIPv2Inferencer, folder: Path, ann_file: str, words: Mapping[str, str] | None = None) -> Accuracy:
    """Detect all classes of a COCO json file on its images, each by its name or by ``words``."""
    with redirect_stdout(StringIO()):
        truth = COCO(str(folder / ann_file))
    categories = truth.loadCats(truth.getCatIds())
    prompt = [(words or {}).get(category['name'], category['name']) for category in categories]
    images = truth.loadImgs(truth.getImgIds())
    paths = [str(folder / 'images' / image['file_name']) for image in images]
    found = []
    results = model.detect(paths, prompt, threshold=SCORE, batch_size=4, stream=True)
    for image, result in zip(images, results, strict=True):
        for box, score, label in zip(result.boxes, result.scores, result.labels, strict=True):
            x1, y1, x2, y2 = map(float, box)
            found.append(
                dict(
                    image_id=image['id'],
                    category_id=categories[int(label)]['id'],
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    score=float(score),
                )
            )
    with redirect_stdout(StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(found), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, :, 0, -1]  # (IoU, recall, class) for all areas, 100 boxes
    per_class = {}
    for number, category in enumerate(categories):
        values = precision[:, :, number]
        if (values > -1).any():
            per_class[category['name']] = float(values.mean()), float(values[0].mean())
    return Accuracy(per_class, len(images), *best_threshold(evaluation))


def best_threshold(evaluation: COCOeval) -> tuple[float, float]:
    """The score with the best F1 of boxes at IoU 0.5, and that F1; of the evaluation's own matches, over all areas."""
    area = evaluation.params.areaRng[0]
    entries = [entry for entry in evaluation.evalImgs if entry is not None and entry['aRng'] == area]
    counted = [~np.asarray(entry['dtIgnore'][0], dtype=bool) for entry in entries]
    scores = np.concatenate([np.asarray(e['dtScores'])[keep] for e, keep in zip(entries, counted, strict=True)])
    right = np.concatenate([np.asarray(e['dtMatches'][0])[keep] > 0 for e, keep in zip(entries, counted, strict=True)])
    num_boxes = sum(int((np.asarray(entry['gtIgnore']) == 0).sum()) for entry in entries)
    order = np.argsort(-scores, kind='stable')
    found = np.cumsum(right[order])
    f1 = 2 * found / (np.arange(1, len(order) + 1) + num_boxes)
    best = int(f1.argmax())
    return round(float(scores[order][best]), 3), round(float(f1[best]), 3)


def speed_photos() -> list[np.ndarray]:
    """64 photos of (240, 320, 3)."""
    height, width = SPEED_SIZE
    files = sorted((PHOTOS / 'voc2012_animals/images').glob('*.jpg'))[:64]
    return [np.ascontiguousarray(cv2.resize(cv2.imread(str(file))[..., ::-1], (width, height))) for file in files]


def images_per_second(model: GLIPv2Inferencer, repeats: int, batch_size: int) -> list[float]:
    """Photos of 240 x 320 px in memory to boxes, ten names, all threads; one figure per run over 64 photos."""
    photos = speed_photos()
    model.detect(photos[:batch_size], SPEED_NAMES, batch_size=batch_size)
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.detect(photos, SPEED_NAMES, batch_size=batch_size)
        rates.append(len(photos) / (time.perf_counter() - start))
    return rates


def exported_images_per_second(model: GLIPv2Inferencer, repeats: int, threads: int) -> list[float]:
    """The same photos and names through the exported model with its prompt folded in, one photo at a time."""
    with tempfile.TemporaryDirectory() as folder:
        runner = OnnxDetector(export_onnx(model.model, model.pipeline, folder, SPEED_NAMES, fixed=True), threads)
        photos = speed_photos()
        runner.detect(photos[0])
        rates = []
        for _ in range(repeats):
            start = time.perf_counter()
            for photo in photos:
                runner.detect(photo, threshold=0.3)
            rates.append(len(photos) / (time.perf_counter() - start))
    return rates


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='(default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=3, help='of the speed measurement (default: %(default)s)')
    parser.add_argument('--model', default=DEFAULT_MODEL, help='(default: %(default)s)')
    parser.add_argument('--weights', help='(default: those of the package)')
    parser.add_argument('--only-speed', action='store_true', help='leave accuracy out')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = GLIPv2Inferencer(args.model, args.weights, device='cpu')
    figures = describe_setup('mini', args)
    weights = Path(args.weights or shipped_weights(args.model))
    figures['mini_weights_mb'] = round(weights.stat().st_size / 1e6, 1)
    rows = []
    if not args.only_speed:
        rows = accuracy_rows(model, figures)
    rates = {f'batch {size}': images_per_second(model, args.repeats, size) for size in (1, 8)}
    rates['ONNX'] = exported_images_per_second(model, args.repeats, args.threads)
    for name, values in rates.items():
        figures[f'mini_images_per_second_{name.replace(" ", "_").lower()}'] = [round(value, 1) for value in values]
        speed = f'{np.median(values):.1f} images/s'
        rows.append([f'{SPEED_SIZE[0]} x {SPEED_SIZE[1]} px, ten names, {name}', '', '', speed])
    table = markdown_table(['what', 'AP', 'AP50', 'photos'], rows, text=('what',))
    publish(figures, f'{setup_sentence("mini", figures)}\n\n{table}', args.json)
    return 0


def accuracy_rows(model: GLIPv2Inferencer, figures: dict[str, object]) -> list[list[str]]:
    """The rows of the table; all figures are added to ``figures``."""
    voc = PHOTOS / 'voc2012_animals'
    runs = {
        'voc': evaluate(model, voc, 'val.json'),
        'voc_other_words': evaluate(model, voc, 'val.json', OTHER_WORDS),
        'coco': evaluate(model, PHOTOS / 'coco_boxes', 'val.json'),
        'aquarium': evaluate(model, PHOTOS / 'aquarium', 'val.json'),
    }
    rows = []
    for name, run in runs.items():
        parts = {name: None, f'{name}_frequent': FREQUENT} if name.startswith('voc') else {name: None}
        for key, classes in parts.items():
            ap, ap50 = run.mean(classes)
            figures |= {f'mini_{key}_ap': ap, f'mini_{key}_ap50': ap50}
            rows.append([key.replace('_', ' '), f'{ap:.3f}', f'{ap50:.3f}', str(run.num_images)])
        figures |= {f'mini_{name}_best_threshold': run.best_threshold, f'mini_{name}_best_f1': run.best_f1}
        figures[f'mini_{name}_classes'] = {
            key: [round(value, 4) for value in values] for key, values in run.per_class.items()
        }
    for key in ('', '_frequent'):
        share = figures[f'mini_voc_other_words{key}_ap50'] / figures[f'mini_voc{key}_ap50']
        figures[f'mini_other_words_share{key}_ap50'] = round(share, 3)
    return rows


if __name__ == '__main__':
    sys.exit(main())
