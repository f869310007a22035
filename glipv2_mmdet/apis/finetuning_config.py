"""Config of a model, mode and shots → configs to tune it on a data folder and to use the result."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from glipv2_mmdet.datasets.own_data import OwnData
from glipv2_mmdet.text import PromptError, PromptTokenizer, prompt_from_classes

MODES = ('prompt', 'head', 'full')
MONITOR = 'coco/bbox_mAP'
#: Training steps where none are given: few shots, and all images.
FEW_STEPS, ALL_STEPS = 60, 200
PROMPT_RATE, PROMPT_DECAY = 0.05, 0.25


@dataclass(frozen=True)
class FinetuneSettings:
    """What one run does.

    Args:
        config: config of the base model; its model, test settings and image pipelines are used.
        base: checkpoint of the base model.
        work_dir: folder of all runs; each has one of its own in there.
        mode: 'prompt' (the prompt embedding learns), 'head' (the grounding head does) or 'full'.
        shots: images per class, None for all.
        seed: of the subset and of the run.
        overrides: words that stand for a class, see :func:`read_overrides`.
        steps: of the training; by default 60, or 200 with all images.
        lr: learning rate; by default 0.05 for a prompt, otherwise that of the config.
        batch_size: images per step.
        evaluations: how often the validation split is looked at.
        workers: processes that load images; 0 loads in the main one, the fastest for small images.
        num_pictures: images painted with the boxes of the tuned model.

    Raises:
        ValueError: a setting out of range.
    """

    config: str
    base: str
    work_dir: str
    mode: str = 'prompt'
    shots: int | None = None
    seed: int = 3
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    steps: int | None = None
    lr: float | None = None
    batch_size: int = 4
    evaluations: int = 4
    workers: int = 0
    num_pictures: int = 4

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f'mode is "{self.mode}"; expected one of {", ".join(MODES)}.')
        for name, least in (('shots', 1), ('steps', 1), ('batch_size', 1), ('evaluations', 1), ('workers', 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f'{name} is {value}; expected {least} or more.')

    @property
    def run_dir(self) -> Path:
        """Folder of this run."""
        return Path(self.work_dir) / f'{self.mode}_{self.shots or "all"}shot_seed{self.seed}'


def read_overrides(file: str | Path, classes: Sequence[str]) -> dict[str, dict[str, str]]:
    """Words for classes from a json file ``{class: phrase}`` or ``{class: {"prefix", "name", "suffix"}}``.

    Raises:
        PromptError: another layout, a class that the data does not have, or words that make no prompt.
    """
    try:
        content = json.loads(Path(file).read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise PromptError(f'{file}: not json ({error}). Expected {{"class": "phrase"}}.') from error
    if not isinstance(content, dict):
        raise PromptError(f'{file}: expected an object {{"class": "phrase"}}, got {str(content)[:60]!r}.')
    unknown = [name for name in content if name not in classes]
    if unknown:
        raise PromptError(
            f'{file} has words for "{unknown[0]}", which is no class of the data ({", ".join(classes)}). '
            'Correct the name.'
        )
    overrides = {name: {'name': words} if isinstance(words, str) else words for name, words in content.items()}
    prompt_from_classes(classes, overrides)
    return overrides


def base_config(settings: FinetuneSettings, data: OwnData) -> Config:
    """The base model with the data as its test set; also what a finished run is used with.

    Raises:
        ValueError: the config has no test pipeline, or its model is none of this package.
    """
    config = Config.fromfile(settings.config)
    if config.get('model', {}).get('type') != 'GLIPv2' or 'test_dataloader' not in config:
        raise ValueError(
            f'"{settings.config}" is no config of a GLIPv2 model with a test_dataloader. Give the config '
            'the checkpoint was trained with.'
        )
    # losses of pre-training and masks have no place in a set of boxes
    config.model.update(
        mlm_head=None,
        inter_loss=None,
        mask_head=None,
        prompt_tuning=None,
        tuned_prompt=None,
        # a text encoder that pre-training left as it was published stays so
        frozen_parts=tuple(part for part in config.model.get('frozen_parts', ()) if part == 'language_model'),
        init_cfg=None,
    )
    split = 'test' if 'test' in data.ann_files else 'valid'
    config.test_dataloader, config.test_evaluator = _evaluation(config, settings, data, split)
    config.val_dataloader, config.val_evaluator = _evaluation(config, settings, data, 'valid')
    config.load_from = None
    return config


def training_config(settings: FinetuneSettings, data: OwnData) -> Config:
    """Everything a ``Runner`` needs for one run."""
    config = base_config(settings, data)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        config[key] = None
    steps = settings.steps or (ALL_STEPS if settings.shots is None else FEW_STEPS)
    interval = max(1, steps // settings.evaluations)
    config.model.init_cfg = dict(type='Pretrained', checkpoint=str(settings.base))
    if settings.mode == 'prompt':
        config.model.prompt_tuning = dict(type='PromptTuning', classes=data.classes, overrides=settings.overrides)
    elif settings.mode == 'head':
        config.model.frozen_parts = ('backbone', 'language_model', 'neck', 'fusion')
    config.train_dataloader = _train_dataloader(config, settings, data)
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=interval)
    config.val_cfg = dict(type='ValLoop')
    config.optim_wrapper = _optim_wrapper(config, settings)
    # the rate drops, and the run ends, when the validation says so (GLIP's rule, for fewer evaluations)
    patience = max(1, settings.evaluations // 4)
    config.param_scheduler = [
        dict(type='ReduceOnPlateauLR', monitor=MONITOR, rule='greater', factor=0.1, patience=patience)
    ]
    if settings.mode != 'prompt':
        config.param_scheduler.insert(
            0, dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=max(1, steps // 10))
        )
    config.custom_hooks = [
        dict(type='EarlyStoppingHook', monitor=MONITOR, rule='greater', min_delta=0.0005, patience=max(3, 2 * patience))
    ]
    checkpoint = dict(type='DurableCheckpointHook', by_epoch=False, interval=interval, max_keep_ckpts=2)
    if settings.mode == 'prompt':
        config.custom_hooks.append(dict(type='PromptCheckpointHook', monitor=MONITOR))
    else:
        checkpoint |= dict(save_best=MONITOR, rule='greater')
    config.default_hooks.checkpoint = checkpoint
    config.default_hooks.logger.interval = max(1, interval // 2)
    config.log_processor = dict(type='LogProcessor', window_size=interval, by_epoch=False)
    config.work_dir = str(settings.run_dir)
    config.randomness = dict(seed=settings.seed)
    config.launcher = 'none'
    # mmengine's registries of running things are keyed by this name and live as long as the process
    config.experiment_name = f'{settings.run_dir.name}_{uuid.uuid4().hex[:8]}'
    config.visualizer.name = config.experiment_name
    return config


def _dataset(data: OwnData, split: str, settings: FinetuneSettings, pipeline: list) -> dict:
    return dict(
        type='CocoDataset',
        ann_file=str(Path(data.ann_files[split]).resolve()),
        data_prefix=dict(img=''),
        metainfo=dict(classes=data.classes),
        return_classes=True,
        caption_prompt=copy.deepcopy(dict(settings.overrides)) or None,
        pipeline=pipeline,
    )


def _evaluation(config: Config, settings: FinetuneSettings, data: OwnData, split: str) -> tuple[dict, dict]:
    pipeline = _pipeline(config.test_dataloader.dataset)
    loader = dict(
        batch_size=1,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        drop_last=False,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(_dataset(data, split, settings, pipeline), test_mode=True),
    )
    return loader, dict(type='CocoMetricWithNothing', ann_file=loader['dataset']['ann_file'], metric='bbox')


def _train_dataloader(config: Config, settings: FinetuneSettings, data: OwnData) -> dict:
    """The config's own augmentation, with a prompt of all classes in fixed order where they fit."""
    pipeline = [step for step in _pipeline(config.train_dataloader.dataset) if step['type'] != 'LoadMasks']
    place = next((number for number, step in enumerate(pipeline) if step['type'] == 'BuildPrompt'), None)
    if place is None:
        raise ValueError(
            f'The training pipeline of "{settings.config}" has no BuildPrompt. Give the config the '
            'checkpoint was trained with.'
        )
    if settings.mode == 'prompt':  # the detector makes the prompt, of several parts if need be
        del pipeline[place]
        pipeline[-1]['meta_keys'] = (*(key for key in pipeline[-1]['meta_keys'] if key != 'prompt'), 'text')
    else:
        step = pipeline[place]
        limits = {key: step[key] for key in ('vocab', 'max_tokens') if key in step}
        prompt = prompt_from_classes(data.classes, settings.overrides)
        tokenizer = PromptTokenizer(**limits)
        fits = tokenizer.count_tokens(prompt.text) + 2 <= tokenizer.max_tokens
        pipeline[place] = dict(type='BuildPrompt', sample=not fits, **limits)
    return dict(
        batch_size=settings.batch_size,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(
            type='FewShotDataset',
            shots=settings.shots,
            seed=settings.seed,
            copies=1,
            dataset=_dataset(data, 'train', settings, pipeline),
        ),
    )


def _optim_wrapper(config: Config, settings: FinetuneSettings) -> dict:
    wrapper = copy.deepcopy(config.optim_wrapper)
    if settings.mode == 'prompt':
        for key in ('constructor', 'paramwise_cfg', 'clip_grad'):
            wrapper.pop(key, None)
        wrapper.optimizer = dict(type='AdamW', lr=settings.lr or PROMPT_RATE, weight_decay=PROMPT_DECAY)
    else:
        wrapper.optimizer.lr = settings.lr or wrapper.optimizer.lr
    return wrapper


def _pipeline(dataset: Mapping) -> list:
    """The pipeline of a data set, or of the first one in it."""
    while 'pipeline' not in dataset:
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return copy.deepcopy(dataset['pipeline'])
