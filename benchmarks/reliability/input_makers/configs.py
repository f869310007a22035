"""Configs with a key that nobody knows, or a value that cannot be, in every registered component of the package."""

from __future__ import annotations

import copy
import inspect
import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS
from mmengine.registry import Registry

from benchmarks.reliability.input_makers.file_formats import FORMATS, encoded
from benchmarks.reliability.input_makers.tiny_models import tiny_config
from benchmarks.reliability.input_makers.verdict import Case, InvalidResult
from glipv2_mmdet import datasets, models
from glipv2_mmdet.engine.optim import MultiplyingOptimWrapperConstructor

#: Values for settings that have a number; each is of the wrong type or far out of range.
VALUES = ('x', None, -1, [], {}, object())
#: What mmengine's registry raises for a key that a component does not take: Python's own sentence, with both names.
OF_MMENGINE = (TypeError,)


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """An endless row of cases; one wrong key of each component and dict of settings comes first."""
    components = tuple(_components(folder))
    fixed = [_key_case(component, key, rng) for component in components for key in ('unknown_setting', None)]
    fixed += [_settings_case(place, key) for place in SETTINGS for key in ('unknown_setting', None)]
    fixed += [_value_case(*row) for row in VALUES_OF_MODELS]
    rng.shuffle(fixed)
    yield from fixed
    while True:
        if rng.random() < 0.6:
            yield _key_case(rng.choice(components), None, rng)
        else:
            yield _settings_case(rng.choice(SETTINGS), None, rng)


def misspelled(key: str, rng: random.Random) -> str:
    """The key with a letter missing, twice, or exchanged with its neighbour."""
    place = rng.randrange(len(key))
    changed = rng.choice(
        (
            key[:place] + key[place + 1 :],
            key[:place] + key[place] + key[place:],
            key[:place] + key[place : place + 2][::-1] + key[place + 2 :],
            key + 's',
            key.upper(),
        )
    )
    return changed if changed not in ('', key) else f'{key}_'


# --- keys of components ------------------------------------------------------------------------------


def _components(folder: Path) -> Iterator[tuple[Registry, dict]]:
    """(registry, config that can be built) of each."""
    model = tiny_config('glipv2-nano-mask').model.to_dict()
    parts = {name: model[name] for name in ('backbone', 'language_model', 'fusion', 'bbox_head', 'mask_head')}
    parts['backbone'] = dict(parts['backbone'], embed_dim=8, num_heads=(1, 1, 1, 1))
    yield MODELS, dict(type='CoSwin', embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    for part in parts.values():
        yield MODELS, part
    yield MODELS, model
    for part in (
        dict(type='RegionWordFocalLoss'),
        dict(type='LocalizationLoss'),
        dict(type='MaskLoss'),
        dict(type='InterImageContrast'),
        dict(type='MLMHead', text_channels=8, vocab_size=9),
        dict(type='CaptionHead', text_channels=8, vocab_size=9),
        dict(type='VQAHead', text_channels=8, num_answers=3),
    ):
        yield MODELS, part
    for part in (
        dict(type='BuildPrompt'),
        dict(type='CaptionPrompt'),
        dict(type='CleanBoxes'),
        dict(type='LoadMasks'),
        dict(type='LoadStreamedImage'),
    ):
        yield TRANSFORMS, part
    yield from (
        (METRICS, part)
        for part in (
            dict(type='PhraseCutMetric'),
            dict(type='RefExpMetric'),
            dict(type='VQAMetric'),
            dict(type='Flickr30kMetric'),
        )
    )
    yield HOOKS, dict(type='PromptCheckpointHook', monitor='x')
    yield HOOKS, dict(type='MetricsLoggerHook')
    yield VISUALIZERS, dict(type='GLIPv2Visualizer', name='painter')
    files = {}
    for format_ in FORMATS:
        place = folder / f'config_{format_.name}'
        for name, content in format_.files.items():
            files[name] = place / name
            files[name].parent.mkdir(parents=True, exist_ok=True)
            files[name].write_bytes(encoded(content))
    file = {name: str(path) for name, path in files.items()}
    odvg = dict(
        type='GroundedODVGDataset', ann_file=file['train.jsonl'], label_map_file=file['label_map.json'], pipeline=[]
    )
    pairs = dict(type='IndexedODVGDataset', ann_file=file['pairs.jsonl'])
    yield from (
        (DATASETS, part)
        for part in (
            odvg,
            pairs,
            dict(type='MDETRGroundingDataset', ann_file=file['mixed.json'], pipeline=[]),
            dict(type='ReferringDataset', ann_file=file['referring.jsonl'], pipeline=[]),
            dict(type='Flickr30kEntities', ann_file=file['separateGT.json'], pipeline=[]),
            dict(
                type='PhraseCutDataset',
                ann_file=file['refer_val.json'],
                image_info_file=file['image_data_split.json'],
                pipeline=[],
            ),
            dict(
                type='VQADataset',
                ann_file='',
                question_file=file['questions.json'],
                image_template='{image_id}.jpg',
                pipeline=[],
            ),
            dict(type='CocoCaption', ann_file=file['dataset_coco.json'], splits=('train',), pipeline=[]),
            dict(type='TSVPairs', yaml_file=file['pairs.yaml']),
            dict(type='WebDatasetPairs', shards=file['shard.tar'], num_samples=2),
            dict(type='FewShotDataset', dataset=odvg, shots=None),
            dict(type='WithNegativeCaptions', dataset=pairs),
            dict(type='ReplaceFailedSamples', dataset=odvg),
        )
    )
    yield METRICS, dict(type='GroundedLVISMetric', ann_file=file['lvis_val.json'])
    yield METRICS, dict(type='CaptionMetric', ann_file=file['dataset_coco.json'])


def _key_case(component: tuple[Registry, dict], key: str | None, rng: random.Random) -> Case:
    registry, config = component
    name = config['type']
    wrong = key or misspelled(rng.choice([name for name in _settings_of(registry, name)] or ['setting']), rng)
    subject = registry.get(name)
    if wrong in _settings_of(registry, name):
        wrong += '_'

    def call() -> None:
        registry.build({**copy.deepcopy(config), wrong: 1})
        raise InvalidResult(f'{name} took {wrong} without a word')

    # Python names the class whose constructor refused: ours, or the one of mmengine that it is derived from
    bases = tuple(base.__name__ for base in subject.__mro__[:-1])
    return Case('configs', f'{name}, key', f'{wrong}=1', call, subject, mentions=((wrong,), bases), others=OF_MMENGINE)


@cache
def _settings_of(registry: Registry, name: str) -> tuple[str, ...]:
    found = []
    for base in registry.get(name).__mro__[:-1]:
        found += [
            parameter.name
            for parameter in inspect.signature(base.__init__).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
    return tuple(key for key in dict.fromkeys(found) if key != 'self')


# --- keys of dicts that a component reads itself -----------------------------------------------------


@cache
def _model(name: str = 'glipv2-nano') -> str:
    model = tiny_config(name).model.to_dict()
    model['backbone'].update(embed_dim=8, num_heads=(1, 1, 1, 1))
    model['neck'].update(in_channels=[16, 32, 64])
    return json.dumps(model)


def _build_model(change: Callable[[dict], None], name: str = 'glipv2-nano') -> None:
    model = json.loads(_model(name))
    change(model)
    with torch.device('meta'):
        MODELS.build(model)


def _in_model(*path: str, name: str = 'glipv2-nano') -> Callable[[str], None]:
    def build(key: str) -> None:
        def change(model: dict) -> None:
            for part in path:
                model = model.setdefault(part, {})
            model[key] = 1

        _build_model(change, name)

    return build


def _in_odvg(setting: str) -> Callable[[str], None]:
    def build(key: str) -> None:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            for name, content in FORMATS[0].files.items():
                (Path(folder) / name).write_bytes(encoded(content))
            datasets.GroundedODVGDataset(
                ann_file=f'{folder}/train.jsonl',
                label_map_file=f'{folder}/label_map.json',
                pipeline=[],
                **{setting: {key: ''}},
            )

    return build


def _optimizer(key: str) -> None:
    MultiplyingOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)), paramwise_cfg={key: 1}
    )


#: (where, what reads it, known keys, what builds it with a wrong key)
SETTINGS = (
    (
        'test_cfg',
        models.GLIPv2,
        ('nms_pre', 'score_thr', 'nms', 'max_per_img', 'chunked_size', 'prompts_per_batch'),
        _in_model('test_cfg'),
    ),
    ('test_cfg.nms', models.GLIPv2, ('iou_threshold', 'type'), _in_model('test_cfg', 'nms')),
    (
        'test_cfg.caption',
        models.GLIPv2,
        ('beam_size', 'max_words', 'length_penalty'),
        _in_model('test_cfg', 'caption', name='glipv2-nano-caption'),
    ),
    ('train_cfg', models.GLIPv2, ('assigner', 'allowed_border'), _in_model('train_cfg')),
    (
        'language_model.config',
        models.BertTextEncoder,
        ('hidden_size', 'num_hidden_layers', 'num_attention_heads', 'vocab_size'),
        _in_model('language_model', 'config'),
    ),
    ('filter_cfg', datasets.GroundedODVGDataset, ('filter_empty_gt', 'min_size', 'kind'), _in_odvg('filter_cfg')),
    ('data_prefix', datasets.GroundedODVGDataset, ('img',), _in_odvg('data_prefix')),
    ('paramwise_cfg', MultiplyingOptimWrapperConstructor, ('bias_lr_mult', 'custom_keys'), _optimizer),
)


def _settings_case(place: tuple, key: str | None, rng: random.Random | None = None) -> Case:
    where, subject, known, build = place
    rng = rng or random.Random(0)
    key = key or misspelled(rng.choice(known), rng)

    def call() -> None:
        build(key)
        raise InvalidResult(f'{where} took {key} without a word')

    return Case('configs', f'{where}, key', f'{key}=1', call, subject, mentions=((key,), (where, where.split('.')[-1])))


# --- values ------------------------------------------------------------------------------------------


def _value(path: tuple[str, ...], value: Any) -> None:
    def change(model: dict) -> None:
        for part in path[:-1]:
            model = model.setdefault(part, {})
        model[path[-1]] = value

    _build_model(change)


VALUES_OF_MODELS = (
    *(
        (('test_cfg', name), value)
        for name in (
            'nms_pre',
            'score_thr',
            'min_bbox_size',
            'max_per_img',
            'chunked_size',
            'prompts_per_batch',
            'max_per_prompt',
            'mask_thr_binary',
            'nms',
        )
        for value in ('x', [], object(), float('nan'))
    ),
    *((('frozen_parts',), value) for value in (('backbon',), ('x', 'y'))),
    *((('language_model', 'max_tokens'), value) for value in (0, -1, 2)),
    *((('language_model', 'vocab'), value) for value in ('no/such', '')),
)


def _value_case(path: tuple[str, ...], value: Any) -> Case:
    def call() -> None:
        _value(path, value)
        raise InvalidResult(f'{".".join(path)} took {value!r} without a word')

    shown = ascii(value)[:30]
    subject = models.BertTextEncoder if path[0] == 'language_model' else models.GLIPv2
    return Case('configs', '.'.join(path), shown, call, subject)
