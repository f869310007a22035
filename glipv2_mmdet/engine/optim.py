"""Parameter groups of GLIP's optimiser: rates and decays by part of the model and by kind of parameter."""

from __future__ import annotations

from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

_KNOWN = {'bias_lr_mult', 'bias_decay_mult', 'custom_keys'}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MultiplyingOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Factors that multiply, where mmengine's own constructor lets a key of ``custom_keys`` replace all other rules.

    With mmengine's, the biases of a language model that learns at a tenth of the rate would learn at a tenth of the
    rate and decay; in GLIP they learn at two tenths and do not. Also as there, every parameter whose own name holds
    "bias" is one: those of norms, the tables of relative positions and the biases of the dot product too. Weights of
    norms decay like any weight.

    Parameters with equal settings share a group, so a model has a handful of groups, not one per parameter.

    ``paramwise_cfg`` takes:

    * ``bias_lr_mult``, ``bias_decay_mult``: factors of biases;
    * ``custom_keys``: part of a name -> ``dict(lr_mult=..., decay_mult=...)``; the longest that occurs in the name of a
      parameter counts.

    Raises:
        ValueError: any other setting, which would be ignored in silence.

    Source: GLIP's released solver and its configs.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        unknown = sorted(set(self.paramwise_cfg) - _KNOWN)
        if unknown:
            raise ValueError(
                f'paramwise_cfg has {unknown}. Expected {sorted(_KNOWN)}; for other rules use '
                "mmengine's DefaultOptimWrapperConstructor."
            )
        for key, factors in self.paramwise_cfg.get('custom_keys', {}).items():
            if set(factors) - {'lr_mult', 'decay_mult'}:
                raise ValueError(f"custom_keys['{key}'] has {sorted(factors)}. Expected lr_mult and decay_mult.")

    def add_params(self, params: list[dict], module: nn.Module, **_: object) -> None:
        """Append the groups of ``module`` to ``params``; frozen parameters belong to none."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        base_decay = self.base_wd or 0.0
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                lr_mult, decay_mult = self._factors(name)
                groups.setdefault((self.base_lr * lr_mult, base_decay * decay_mult), []).append(parameter)
        for (lr, weight_decay), members in groups.items():
            params.append(dict(params=members, lr=lr, weight_decay=weight_decay))
            print_log(
                f'Parameter group: {len(members)} parameters, lr {lr:g}, weight decay {weight_decay:g}',
                logger='current',
            )

    def _factors(self, name: str) -> tuple[float, float]:
        """Factors of rate and decay of one parameter."""
        custom = self.paramwise_cfg.get('custom_keys', {})
        key = max((key for key in custom if key in name), key=len, default=None)
        lr_mult, decay_mult = (custom[key].get(kind, 1.0) for kind in ('lr_mult', 'decay_mult')) if key else (1.0, 1.0)
        if 'bias' in name.rpartition('.')[2]:
            lr_mult *= self.paramwise_cfg.get('bias_lr_mult', 1.0)
            decay_mult *= self.paramwise_cfg.get('bias_decay_mult', 1.0)
        return lr_mult, decay_mult
