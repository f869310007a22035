"""Lets mmdet's own GLIP and Grounding DINO read text with transformers 5.

mmdet 3.3 was written for transformers 4. Version 5 moved ``apply_chunking_to_forward`` (without which mmdet takes
transformers for missing), dropped ``batch_encode_plus`` and ``get_extended_attention_mask``, calls self-attention with
other arguments, and refuses the attention masks (B, T, T) of Grounding DINO. Each is put back for mmdet's classes;
names of weights stay, so published checkpoints load. With transformers 4 nothing is changed.

Expiry: when mmdet supports transformers 5.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
import transformers
from packaging.version import Version
from torch import Tensor
from transformers import modeling_utils, pytorch_utils
from transformers.tokenization_utils_base import BatchEncoding, PreTrainedTokenizerBase


def repair_mmdet_bert() -> bool:
    """Repair mmdet's text encoders; a second call changes nothing. Call it before mmdet's models are imported.

    Returns:
        Whether the installed transformers needs it.
    """
    if Version(transformers.__version__).major < 5:
        return False
    if not hasattr(modeling_utils, 'apply_chunking_to_forward'):
        modeling_utils.apply_chunking_to_forward = pytorch_utils.apply_chunking_to_forward
    if not hasattr(PreTrainedTokenizerBase, 'batch_encode_plus'):
        PreTrainedTokenizerBase.batch_encode_plus = _batch_encode_plus
    encoder = importlib.import_module('mmdet.models.language_models.bert')
    fusion = importlib.import_module('mmdet.models.utils.vlfuse_helper')
    encoder.HFBertModel = BertWithMaskPerWord
    fusion.BertAttention.forward = _attend
    fusion.BertEncoderLayer.get_extended_attention_mask = _additive_mask
    return True


def _batch_encode_plus(self: PreTrainedTokenizerBase, texts: list[str], **settings: Any) -> BatchEncoding:
    """Tokens of several texts, by the name of transformers 4."""
    return self(texts, **settings)


class BertWithMaskPerWord(transformers.BertModel):
    """BERT that also takes a mask (B, T, T): which words each word may look at."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **inputs: Any) -> Any:
        if attention_mask is not None and attention_mask.dim() == 3:
            attention_mask = _additive_mask(self, attention_mask)
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, **inputs)


def _additive_mask(self: modeling_utils.PreTrainedModel, mask: Tensor, *_: Any) -> Tensor:
    """What is added to attention scores: 0, or the smallest number where ``mask`` (B, T) or (B, T, T) is false.

    Returns:
        (B, 1, 1 or T, T), of the type of the weights.
    """
    mask = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
    return torch.where(mask.bool(), 0.0, torch.finfo(self.dtype).min).to(self.dtype)


def _attend(self: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any) -> tuple:
    """Self-attention of mmdet's own class, and the output layer of transformers behind it."""
    attended = self.self(hidden_states, attention_mask)
    return (self.output(attended[0], hidden_states), *attended[1:])
