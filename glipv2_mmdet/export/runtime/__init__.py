"""Run an exported detector with numpy and onnxruntime: no torch, no mmdet, nothing else of this package.

The export command copies this folder beside the model, so that both can be carried to a machine that has no more than
``pip install numpy onnxruntime`` (and ``tokenizers`` for models that read any prompt, ``pillow`` for image files and
for models whose images are scaled by it).
"""

from glipv2_mmdet.export.runtime.detector import OnnxDetector
from glipv2_mmdet.export.runtime.results import Detections
from glipv2_mmdet.export.runtime.settings import Settings

__all__ = ['Detections', 'OnnxDetector', 'Settings']
