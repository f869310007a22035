"""Hooks; importing this package registers them with mmdet."""
from glipv2_mmdet.engine.hooks.metrics_logger import MetricsLoggerHook

__all__ = ['MetricsLoggerHook']
