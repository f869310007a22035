"""Your own boxes in one call: data folder, mode and shots → a tuned prompt or weights, with figures before and after.

What ``tools/finetune.py`` runs. Several modes, shots and seeds share one process, the data and the first evaluation.
"""

from __future__ import annotations

import copy
import gc
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mmcv
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.runner import Runner, load_checkpoint
from torch import nn

from glipv2_mmdet.apis.finetuning_config import MONITOR, FinetuneSettings, base_config, training_config
from glipv2_mmdet.apis.finetuning_record import RESULT, check_reuse, write_record
from glipv2_mmdet.checkpoints import read_checkpoint, save_checkpoint, state_dict_of
from glipv2_mmdet.compat.cpu_distributed import use_single_precision_where_no_gpu
from glipv2_mmdet.datasets.own_data import OwnData, OwnDataError
from glipv2_mmdet.models import TunedPrompt
from glipv2_mmdet.visualization import GLIPv2Visualizer
from glipv2_mmdet.visualization.picture_names import free_name

#: What a run leaves beside its figures.
PROMPT_FILE, WEIGHTS_FILE = 'best_prompt.safetensors', 'best.pth'


@dataclass(frozen=True)
class FinetuneResult:
    """Figures of one run; ``result.json`` holds them.

    Attributes:
        mode, shots, seed: of the run; ``shots`` is None for all images.
        ap_before, ap50_before: box AP of the base model with the class names (or phrases) as prompt.
        ap, ap50: of the best model of the run, chosen on the validation split.
        split: where both were measured: 'test' if the folder has one, else 'valid'.
        trained_share: parameters that learned, as a share of all.
        trained_parameters: their number.
        steps: training steps until the end or the early stop.
        seconds: of the training with its validations.
        file: the tuned prompt, or the weights.
        classes: names in label order.
    """

    mode: str
    shots: int | None
    seed: int
    ap_before: float
    ap50_before: float
    ap: float
    ap50: float
    split: str
    trained_share: float
    trained_parameters: int
    steps: int
    seconds: float
    file: str
    classes: tuple[str, ...]


def evaluate_base(settings: FinetuneSettings, data: OwnData) -> dict[str, float]:
    """COCO figures of the base model on the split that counts, prompted with the class names; 0 where it finds nothing.

    Raises:
        OwnDataError: a split has no box that counts, so nothing could be measured on it.
    """
    _require_boxes(data)
    config = base_config(settings, data)
    model = _build(config.model)
    load_checkpoint(model, settings.base, map_location='cpu')
    return _evaluate(model, config)


def finetune(
    settings: FinetuneSettings, data: OwnData, before: Mapping[str, float], resume: bool = False
) -> FinetuneResult:
    """One run; everything it writes is in ``settings.run_dir``.

    Args:
        settings: what to do.
        data: of :func:`~glipv2_mmdet.datasets.own_data.prepare_own_data`.
        before: of :func:`evaluate_base`.
        resume: return the result of a finished run, and go on with an unfinished one.

    Raises:
        FileExistsError: the folder has a run, finished or not, and ``resume`` was not given.
        OtherRunError: the folder has a run of other classes, data, base, config or settings.
    """
    run_dir = settings.run_dir
    finished = run_dir / RESULT
    check_reuse(settings, data, resume)
    if finished.is_file():
        content = json.loads(finished.read_text())
        return FinetuneResult(**{**content, 'classes': tuple(content['classes'])})
    write_record(settings, data)
    config = training_config(settings, data)
    config.resume = resume
    use_single_precision_where_no_gpu(config)
    start = time.perf_counter()
    runner = Runner.from_cfg(config)
    runner.train()
    seconds = time.perf_counter() - start
    learning = [parameter.numel() for parameter in runner.model.parameters() if parameter.requires_grad]
    total = sum(parameter.numel() for parameter in runner.model.parameters())
    steps = runner.iter
    del runner
    gc.collect()

    inference = base_config(settings, data)
    file = _keep_best(settings, data, run_dir)
    model = _build(inference.model)
    load_checkpoint(model, str(file) if file.name == WEIGHTS_FILE else settings.base, map_location='cpu')
    if settings.mode == 'prompt':
        inference.model.tuned_prompt = str(file)
        model.set_prompt(file)
    inference.dump(str(run_dir / 'config.py'))
    after = _evaluate(model, inference)
    _draw_pictures(model, inference, run_dir / 'pictures', settings.num_pictures, data.classes)
    result = FinetuneResult(
        mode=settings.mode,
        shots=settings.shots,
        seed=settings.seed,
        ap_before=before['coco/bbox_mAP'],
        ap50_before=before['coco/bbox_mAP_50'],
        ap=after['coco/bbox_mAP'],
        ap50=after['coco/bbox_mAP_50'],
        split=split_that_counts(data),
        trained_share=sum(learning) / total,
        trained_parameters=sum(learning),
        steps=steps,
        seconds=round(seconds, 1),
        file=str(file),
        classes=data.classes,
    )
    finished.write_text(json.dumps(asdict(result), indent=1) + '\n')
    return result


def split_that_counts(data: OwnData) -> str:
    """Figures are of the test split; where there is none, of the one that also chose the best model."""
    return 'test' if 'test' in data.ann_files else 'valid'


def _require_boxes(data: OwnData) -> None:
    """COCO's AP of a split whose boxes are all crowds is -1, which no run could improve on."""
    for split in {'valid', split_that_counts(data)}:
        boxes = json.loads(Path(data.ann_files[split]).read_text(encoding='utf-8'))['annotations']
        if not any(not int(box['iscrowd']) for box in boxes):
            raise OwnDataError(
                f'The {split} split has {len(boxes)} boxes, and none of them counts: AP leaves out those with '
                '"iscrowd": 1. Expected at least one with "iscrowd": 0. Set it, or add images with boxes to the split.'
            )


def result_table(results: Sequence[FinetuneResult]) -> str:
    """One line per mode and shots; several seeds as mean and standard deviation."""
    groups: dict[tuple[str, int | None], list[FinetuneResult]] = {}
    for result in results:
        groups.setdefault((result.mode, result.shots), []).append(result)
    lines = [
        f'{"mode":8}{"shots":>6}{"runs":>6}{"AP before":>11}{"AP after":>16}{"AP50 after":>16}{"trained":>10}'
        f'{"seconds":>9}'
    ]
    for (mode, shots), runs in groups.items():
        seconds = sum(run.seconds for run in runs) / len(runs)
        lines.append(
            f'{mode:8}{shots or "all":>6}{len(runs):>6}{runs[0].ap_before:>11.3f}'
            f'{_mean_and_deviation([run.ap for run in runs]):>16}'
            f'{_mean_and_deviation([run.ap50 for run in runs]):>16}{runs[0].trained_share:>10.3%}'
            f'{seconds:>9.0f}'
        )
    return '\n'.join(lines)


def _mean_and_deviation(figures: Sequence[float]) -> str:
    figures = torch.tensor(figures, dtype=torch.float64)
    return f'{figures.mean():.3f}' if len(figures) == 1 else f'{figures.mean():.3f} ± {figures.std():.3f}'


def _build(model: Mapping[str, Any]) -> nn.Module:
    return MODELS.build(copy.deepcopy(model)).to(get_device()).eval()


@torch.no_grad()
def _evaluate(model: nn.Module, config: Config) -> dict[str, float]:
    """Figures of the test data set of ``config``."""
    loader = Runner.build_dataloader(copy.deepcopy(config.test_dataloader), seed=0)
    evaluator = Evaluator(copy.deepcopy(config.test_evaluator))
    evaluator.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        evaluator.process(data_samples=model.test_step(batch), data_batch=batch)
    return evaluator.evaluate(len(loader.dataset))


def _keep_best(settings: FinetuneSettings, data: OwnData, run_dir: Path) -> Path:
    """The file of the best model, complete and small; what served the run only is removed."""
    if settings.mode == 'prompt':
        file = run_dir / PROMPT_FILE
        TunedPrompt.load(file)
    else:
        # a run that was killed between saving one and removing the one before has two
        *earlier, best = sorted(run_dir.glob(f'best_{MONITOR.replace("/", "_")}_*.pth'), key=_time_written)
        file = run_dir / WEIGHTS_FILE
        save_checkpoint(file, state_dict_of(read_checkpoint(best)), dict(dataset_meta=dict(classes=data.classes)))
        for checkpoint in [*earlier, best]:
            checkpoint.unlink()
    for checkpoint in [*run_dir.glob('iter_*.pth'), run_dir / 'last_checkpoint']:
        checkpoint.unlink(missing_ok=True)
    return file


def _time_written(path: Path) -> int:
    return path.stat().st_mtime_ns


def _draw_pictures(model: nn.Module, config: Config, folder: Path, number: int, classes: Sequence[str]) -> None:
    """Boxes on the first images of the test data set of ``config``."""
    if number < 1:
        return
    visualizer = GLIPv2Visualizer()
    visualizer.dataset_meta = dict(classes=tuple(classes), palette='random')
    loader = Runner.build_dataloader(dict(copy.deepcopy(config.test_dataloader), batch_size=1), seed=0)
    taken: set[str] = set()
    for _, batch in zip(range(number), loader, strict=False):
        with torch.no_grad():
            (result,) = model.test_step(batch)
        name = free_name(result.img_path, '.png', lambda name: name not in taken)
        taken.add(name)
        image = mmcv.imread(result.img_path, channel_order='rgb')
        visualizer.add_datasample(
            Path(name).stem, image, result.cpu(), draw_gt=False, pred_score_thr=0.3, out_file=str(folder / name)
        )
    print_log(f'Pictures with boxes are in {folder}.', logger='current')
