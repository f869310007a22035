"""Trains on a machine without a GPU, also in several processes, with the same config and launcher as elsewhere.

mmengine (0.10) selects a CUDA device before it starts the process group, whatever the backend, and hands
the local rank to DistributedDataParallel as a device; both fail when the model lives on the CPU.

Expiry: when mmengine chooses by the device of the model.
"""

from __future__ import annotations

import gc
from datetime import timedelta

import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log


def use_cpu_where_no_gpu(cfg: Config) -> bool:
    """Choose gloo and a wrapper for CPU modules when a distributed run sees no accelerator; edits ``cfg``.

    Args:
        cfg: a full config with ``launcher`` set. Everything else of it stays.

    Returns:
        True when the config was changed; then call :func:`start_cpu_group` before the runner is built.

    Raises:
        ValueError: a launcher other than 'pytorch', which mmengine can only start with GPUs.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or get_device() != 'cpu':
        return False
    if launcher != 'pytorch':
        raise ValueError(
            f"Launcher is '{launcher}' and no GPU is visible; without one only 'pytorch' works. "
            'Use tools/dist_train.sh or tools/dist_test.sh, or give the job GPUs.'
        )
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    # without one, the two values mmengine itself would pass
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)
    return True


def use_single_precision_where_no_gpu(cfg: Config) -> bool:
    """Replace mixed precision by single precision where no accelerator is visible; edits ``cfg``.

    mmengine's ``AmpOptimWrapper`` refuses to be built there, and a recipe should still start.

    Returns:
        True when the config was changed.
    """
    if cfg.optim_wrapper.get('type') != 'AmpOptimWrapper' or get_device() != 'cpu':
        return False
    for key in ('dtype', 'loss_scale', 'use_fsdp'):
        cfg.optim_wrapper.pop(key, None)
    cfg.optim_wrapper.type = 'OptimWrapper'
    print_log('No GPU is visible: training in single precision instead of mixed.', logger='current')
    return True


def start_cpu_group(cfg: Config) -> None:
    """Join the processes of this run, by torchrun's variables; mmengine keeps a group that it finds."""
    seconds = cfg.env_cfg.dist_cfg.get('timeout')
    dist.init_process_group('gloo', timeout=timedelta(seconds=seconds) if seconds else None)


def leave_group() -> None:
    """End what joins the processes, if anything does; mmengine leaves that to the end of the interpreter.

    Threads of gloo that still run there end the process with "terminate called without an active exception" in three
    of ten runs, and the launcher calls a finished training a failure. A wrapped model keeps the group, and with it the
    threads: let go of the runner before.
    """
    if dist.is_initialized():
        gc.collect()  # runner, model and hooks know each other
        dist.destroy_process_group()
