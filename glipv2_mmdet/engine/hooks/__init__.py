"""Hooks of training runs."""
from glipv2_mmdet.engine.hooks.prompt_checkpoint_hook import PromptCheckpointHook

__all__ = ['PromptCheckpointHook']
