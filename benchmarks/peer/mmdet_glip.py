"""The peer: mmdet 3.3's GLIP-T as its own config describes it, built without a download."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.peer.mmcv_ops import provide_mmcv_ops

provide_mmcv_ops()

# isort: split
import mmdet  # noqa: E402
import transformers  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = ROOT / 'glipv2_mmdet/text/bert_base_uncased_vocab.txt'
#: The fine-tuning config states the losses, the pre-training one leaves defaults of the library.
CONFIG = 'glip/glip_atss_swin-t_c_fpn_dyhead_16xb2_ms-2x_funtune_coco.py'


def build(checkpointing: bool) -> nn.Module:
    """mmdet's GLIP-T with random weights.

    Args:
        checkpointing: of the fusion layers, as the fine-tuning config has it: leaner and slower.
    """
    register_all_modules(init_default_scope=True)
    MMLogger.get_current_instance().setLevel('ERROR')
    _build_bert_from_numbers()
    config = Config.fromfile(Path(mmdet.__file__).parent / '.mim/configs' / CONFIG).model
    config.neck.type = 'FPN'  # fine-tuning drops blocks of the pyramid at random, pre-training does not
    config.bbox_head.use_checkpoint = checkpointing
    return MODELS.build(config)


def load(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Weights under mmdet's names."""
    model.load_state_dict(weights)


def seeded_weights(model: nn.Module) -> dict[str, Tensor]:
    """Random weights that let every part matter: many boxes pass the threshold, fusion changes what is found."""
    torch.manual_seed(0)
    return {
        name: _seeded(name, tensor) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in model.state_dict().items()
    }


def _seeded(name: str, like: Tensor) -> Tensor:
    noise, last = torch.randn(like.shape), name.rpartition('.')[2]
    special = {
        'bias0': (-2, 0.1),
        'log_scale': (0, 0.1),
        'bias_lang': (0, 0.2),
        'scale': (1, 0.1),
        'gamma_v': (0.3, 0.05),
        'gamma_l': (0.3, 0.05),
        'relative_position_bias_table': (0, 0.2),
    }
    if last in special:
        mean, std = special[last]
    elif like.dim() < 2:
        mean, std = (1, 0.1) if last == 'weight' else (0, 0.02)
    elif name.endswith('dot_product_projection_text.weight'):
        mean, std = 0, 1  # its input has a norm of one half
    else:
        mean, std = 0, like[0].numel() ** -0.5
    return mean + std * noise


def _build_bert_from_numbers() -> None:
    """``from_pretrained`` of what mmdet asks for gives BERT-base by its numbers, and the vocabulary of this package."""

    def config(*_: object, **__: object) -> transformers.BertConfig:
        return transformers.BertConfig()

    def model(*_: object, config: transformers.BertConfig, **kwargs: object) -> transformers.BertModel:
        return transformers.BertModel(config, **kwargs)

    def tokenizer(*_: object, **__: object) -> transformers.BertTokenizerFast:
        return transformers.BertTokenizerFast(str(VOCABULARY))

    transformers.BertConfig.from_pretrained = config
    transformers.BertModel.from_pretrained = model
    transformers.AutoTokenizer.from_pretrained = tokenizer
