"""Text encoders."""

from glipv2_mmdet.models.language_models.bert import BertTextEncoder
from glipv2_mmdet.models.language_models.clip import CLIPTextEncoder

__all__ = ['BertTextEncoder', 'CLIPTextEncoder']
