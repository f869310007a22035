"""Run an exported detector with numpy and onnxruntime: no torch, no mmdet, nothing else of this package.

The export command copies this folder beside the model, so that both can be carried to a machine that has no more than
``pip install numpy onnxruntime`` (and ``tokenizers`` for models that read any prompt, ``pillow`` for image files and
for models whose images are scaled by it).
"""
from .detector import OnnxDetector
from .results import Detections
from .settings import Settings

__all__ = ['Detections', 'OnnxDetector', 'Settings']
