"""Text encoders."""
from glipv2_mmdet.models.language_models.bert import BertTextEncoder

__all__ = ['BertTextEncoder']
