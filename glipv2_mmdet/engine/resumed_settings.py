"""What a resumed run changes beside its data: learning rates and decays are applied, anything else is named.

mmengine loads the optimizer and the schedules of the checkpoint over those of the config. So a learning rate that was
changed for the rest of a run would be ignored without a word, as would another schedule or number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from glipv2_mmdet.text.prompt import shorten

_SHOWN = 200


def settings_of_groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Settings of each parameter group as the config asks for them; 'lr' is the one before any schedule."""
    return [
        {name: value for name, value in group.items() if name != 'params' and not name.startswith('initial_')}
        | {'lr': group.get('initial_lr', group['lr'])}
        for group in optimizer.param_groups
    ]


def apply_changed_settings(
    optimizer: Optimizer, schedulers: Iterable[Any], wanted: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Give a restored optimizer the settings of the config; schedules go on from where they are, at the new height.

    Args:
        optimizer: with the state of the checkpoint.
        schedulers: of mmengine, with the state of the checkpoint.
        wanted: of :func:`settings_of_groups`, before the checkpoint was loaded.

    Returns:
        What was changed, such as 'lr 0.1 before, 0.01 now', once per change; empty where nothing was.
    """
    schedulers = list(schedulers)
    scheduled = {scheduler.param_name for scheduler in schedulers}
    changes: dict[str, None] = {}
    for index, (group, asked) in enumerate(zip(optimizer.param_groups, wanted, strict=True)):
        before = group.get('initial_lr', group['lr'])
        if asked['lr'] != before:
            group['lr'] *= asked['lr'] / before if before else 1.0
            if 'initial_lr' in group:
                group['initial_lr'] = asked['lr']
            for scheduler in schedulers:
                if scheduler.param_name == 'lr':
                    scheduler.base_values[index] = asked['lr']
            changes[f'lr {before:g} before, {asked["lr"]:g} now'] = None
        for name, value in asked.items():
            # a schedule may have moved those; 'betas' is the momentum of Adam
            if name == 'lr' or name in scheduled or ('momentum' in scheduled and name == 'betas'):
                continue
            if name in group and group[name] != value:
                changes[f'{name} {group[name]} before, {value} now'] = None
                group[name] = value
    return list(changes)


def describe_run(runner: Any) -> dict[str, Any]:
    """Number of processes, images per step and the schedule of a run, as plain values for a checkpoint."""
    loader = runner.train_dataloader
    sampler = getattr(loader, 'batch_sampler', None)
    batch_size = getattr(sampler, 'batch_size', None) or getattr(loader, 'batch_size', None) or 1
    return dict(
        processes=runner.world_size,
        batch_size=batch_size,
        accumulated=getattr(runner.optim_wrapper, '_accumulative_counts', 1),
        schedule=json.dumps(runner.cfg.get('param_scheduler'), default=repr, sort_keys=True),
    )


def changed_run(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Sentences on what differs between the run of a checkpoint and this one; empty where nothing does."""
    told = []
    batch_keys = ('processes', 'batch_size', 'accumulated')
    if any(before.get(key) != now[key] for key in batch_keys):
        told.append(
            f'The checkpoint was made with {_describe_batch(before)}, this run has {_describe_batch(now)}. The order '
            'of the data is another, and the learning rate and the number of steps stay those of the config: if the '
            'images per step changed, adjust both (docs/pretraining.md).'
        )
    if before.get('schedule') != now['schedule']:
        told.append(
            f'param_scheduler was {shorten(str(before.get("schedule")), _SHOWN)}, the config has '
            f'{shorten(now["schedule"], _SHOWN)}. The schedule of the checkpoint goes on. For the new one start from '
            'the weights: load_from=FILE without --resume.'
        )
    return told


def _describe_batch(run: Mapping[str, Any]) -> str:
    processes, batch_size, accumulated = (int(run.get(key) or 1) for key in ('processes', 'batch_size', 'accumulated'))
    return (
        f'{processes} process{"es" if processes > 1 else ""} of {batch_size} images'
        f'{f", {accumulated} batches per step" if accumulated > 1 else ""} '
        f'({processes * batch_size * accumulated} images per step)'
    )
