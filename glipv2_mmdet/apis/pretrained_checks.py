"""What the config.json of a model folder may ask for: the parts of a GLIPv2 model, files beside it, nothing else.

mmengine takes any importable name for a type and calls it, mmcv evaluates the name of a suppression, and some
components of mmdet open configs, which are code, or evaluate their arguments. So a folder is held to components of this
package, to harmless families of mmdet and mmcv, and to what the user's own program has registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS
from mmengine.model import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS, Registry

from glipv2_mmdet.checkpoints import CheckpointError
from glipv2_mmdet.models import GLIPv2
from glipv2_mmdet.models.checked_nms import NMS_TYPES
from glipv2_mmdet.text.tokenize import SHIPPED_VOCABS

#: The packages below this one register much that a model does not need.
_STACK = ('mmdet', 'mmcv', 'mmengine', 'mmpretrain', 'mmseg', 'torch', 'torchvision', 'builtins')
#: Of them, parts that are built from numbers alone: no detectors (one opens a config), no trackers (one runs text).
_PARTS = (
    'mmdet.models.backbones',
    'mmdet.models.necks',
    'mmdet.models.losses',
    'mmdet.models.layers',
    'mmdet.models.data_preprocessors',
    'mmdet.models.task_modules.assigners',
    'mmdet.models.task_modules.coders',
    'mmdet.models.task_modules.prior_generators',
    'mmdet.models.task_modules.samplers',
    'mmcv.cnn.bricks',
    'mmcv.ops',
    'mmengine.model.weight_init',
    'torch.nn',
)
#: Steps of a test pipeline; those for training build others from any of their arguments.
_STEPS = (
    'LoadImageFromFile',
    'LoadImageFromNDArray',
    'LoadAnnotations',
    'Resize',
    'FixScaleResize',
    'Pad',
    'Normalize',
    'PackDetInputs',
)
#: Under these a folder names files, always as ``{"__file__": name}``.
_FILE_KEYS = (
    'vocab',
    'config',
    'tuned_prompt',
    'answers',
    'checkpoint',
    'pretrained',
    'teacher_config',
    'teacher_ckpt',
    '_base_',
    'custom_imports',
)


def check_config(content: Mapping[str, Any], file: Path) -> None:
    """Refuse a config that asks for more than a GLIPv2 model; nothing is built or imported yet.

    Args:
        content: of the file, with ``model`` and ``pipeline``, before paths are resolved.
        file: for the message.

    Raises:
        CheckpointError: it does; the text names what.
    """
    model, pipeline = content['model'], content['pipeline']
    if not isinstance(model, dict) or _registered(model.get('type'), MODELS) is not GLIPv2:
        given = model.get('type') if isinstance(model, dict) else model
        raise CheckpointError(
            f'"{file}" asks for a component {str(given)[:60]!r} as its model; such a folder holds a '
            'GLIPv2 and nothing else. Load other models from their configs, if you trust those.'
        )
    _check_types(model, f'"{file}"', _is_part)
    _check_types(pipeline, f'"{file}"', _is_step)
    _check_files(content, file)


def checked_parts(model: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Settings of a model that came with a file, to be built; start weights are left out, since weights come with it.

    Args:
        model: with ``type``, as in a config.
        source: what holds them, for the message.

    Raises:
        CheckpointError: they ask for a component that could run code.
    """
    model = without_start_weights(model)
    _check_types(model, source, _is_part)
    return model


def without_start_weights(config: Any) -> Any:
    """A copy without the weights that a training starts from: ``pretrained``, and ``init_cfg`` of kind Pretrained."""
    if isinstance(config, Mapping):
        copied = {key: without_start_weights(value) for key, value in config.items() if key != 'pretrained'}
        start = copied.get('init_cfg')
        if isinstance(start, dict) and str(start.get('type')).endswith('Pretrained'):
            copied['init_cfg'] = None
        return copied
    if isinstance(config, (list, tuple)):
        return type(config)(map(without_start_weights, config))
    return config


def _check_types(value: Any, source: str, is_known: Callable[[str], bool]) -> None:
    for item in _dicts(value):
        kind = item.get('type')
        if 'type' in item and not (isinstance(kind, str) and is_known(kind)):
            raise CheckpointError(
                f'{source} asks for a component {kind!r}, which is none of a GLIPv2 model. Import '
                'the package that registers it before the file is opened, or load the model from '
                'its config; if you did not expect that, do not trust this file.'
            )
        for key, text in item.items():
            # arguments such as resize_type are looked up as types, too
            if str(key).endswith('_type') and isinstance(text, str) and '.' in text:
                raise CheckpointError(
                    f'{source} asks for a component {text[:60]!r} as its {key}. Expected a plain '
                    'name; do not trust this file.'
                )


def _check_files(value: Any, file: Path) -> None:
    for item in _dicts(value):
        for key, text in item.items():
            if key in _FILE_KEYS and isinstance(text, str) and text not in SHIPPED_VOCABS:
                raise CheckpointError(
                    f'"{file}" names {text[:60]!r} as its {key}, which is not in the folder. '
                    'Expected only files of the folder: save it again with save_pretrained, or do '
                    'not trust this file.'
                )


def _dicts(value: Any) -> Iterator[dict]:
    """Every dict within, outer ones first."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)


def _is_part(name: str) -> bool:
    found = [part for registry in (MODELS, TASK_UTILS, WEIGHT_INITIALIZERS) if (part := _registered(name, registry))]
    return name in NMS_TYPES or (bool(found) and all(map(_is_harmless, found)))


def _is_step(name: str) -> bool:
    step = _registered(name, TRANSFORMS)
    return step is not None and (name.removeprefix('mmdet.') in _STEPS or _package_of(step) not in _STACK)


def _is_harmless(part: Any) -> bool:
    if part is PretrainedInit:  # weights come with the folder
        return False
    return _package_of(part) not in _STACK or f'{part.__module__}.'.startswith(tuple(f'{name}.' for name in _PARTS))


def _package_of(part: Any) -> str:
    return part.__module__.partition('.')[0]


def _registered(name: Any, registry: Registry) -> Any:
    """The component of a name, or None; nothing is imported for its sake."""
    if not isinstance(name, str):
        return None
    name, found = name.removeprefix('mmdet.'), None
    while registry is not None and found is None:
        registry.import_from_location()
        found, registry = registry.module_dict.get(name), registry.parent
    return found
