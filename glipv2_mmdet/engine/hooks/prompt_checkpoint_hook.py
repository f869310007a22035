"""Prompt tuning saves prompts: the best and the last, and checkpoints without the weights that did not move."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from glipv2_mmdet.models import TunedPromptError, base_fingerprint

_PREFIX = 'prompt_tuning.'
# entries of the message hub, which checkpoints carry
_BEST, _BASE = 'best_prompt_score', 'prompt_base_fingerprint'


@HOOKS.register_module()
class PromptCheckpointHook(Hook):
    """Writes ``best_prompt.safetensors`` and ``last_prompt.safetensors`` to the work folder.

    Checkpoints of ``CheckpointHook`` (for resuming) keep the prompt and the optimizer alone. The base weights have to
    be there again when a run is resumed, so they come by ``model.init_cfg=dict(type='Pretrained', checkpoint=...)``:
    mmengine forgets ``load_from`` then.

    Args:
        monitor: metric of the validation that decides which prompt is the best; more is better.

    Raises:
        ValueError: the model has no ``prompt_tuning``.
        KeyError: the validation has no metric ``monitor``.
        TunedPromptError: a resumed run has other base weights than before.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self._fingerprint = ''

    def before_train(self, runner: Runner) -> None:
        """The base weights are in place, and stay."""
        model = _detector(runner)
        if getattr(model, 'prompt_tuning', None) is None:
            raise ValueError(
                'PromptCheckpointHook saves prompts, and this model tunes none. Set '
                "model.prompt_tuning=dict(type='PromptTuning', ...), or remove the hook."
            )
        self._fingerprint = base_fingerprint(model)
        earlier = runner.message_hub.runtime_info.get(_BASE, self._fingerprint)
        if earlier != self._fingerprint:
            raise TunedPromptError(
                f'This run was started on base weights with fingerprint {earlier}, now they have {self._fingerprint}. '
                'Name the same checkpoint in model.init_cfg, or start a new run in another folder.'
            )
        runner.message_hub.update_info(_BASE, self._fingerprint)

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Save the prompt if it is the best so far."""
        if not metrics or not self._fingerprint:  # a run that only validates
            return
        if self.monitor not in metrics:
            raise KeyError(
                f'PromptCheckpointHook.monitor is "{self.monitor}"; the validation has '
                f'{", ".join(metrics)}. Name one of them.'
            )
        score = float(metrics[self.monitor])
        if score > runner.message_hub.runtime_info.get(_BEST, float('-inf')):
            runner.message_hub.update_info(_BEST, score)
            self._save(runner, 'best_prompt')

    def after_train(self, runner: Runner) -> None:
        """Save the last prompt."""
        self._save(runner, 'last_prompt')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Leave out what did not move."""
        checkpoint['state_dict'] = {
            name: value for name, value in checkpoint['state_dict'].items() if name.startswith(_PREFIX)
        }

    @master_only
    def _save(self, runner: Runner, name: str) -> None:
        model = _detector(runner)
        base = (model.init_cfg or {}).get('checkpoint') or runner.cfg.get('load_from') or 'random weights'
        path = Path(runner.work_dir) / f'{name}.safetensors'
        model.prompt_tuning.tuned(self._fingerprint, str(base)).save(path)
        runner.logger.info(f'Saved the prompt to {path}.')


def _detector(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
