"""A detector as files that run without this package: ONNX with a numpy runner, and ``torch.export`` programs."""

from glipv2_mmdet.export.exportable import ExportError
from glipv2_mmdet.export.onnx_export import export_onnx
from glipv2_mmdet.export.runtime import Detections, OnnxDetector, Settings
from glipv2_mmdet.export.torch_export import export_program, load_program

__all__ = ['Detections', 'ExportError', 'OnnxDetector', 'Settings', 'export_onnx', 'export_program', 'load_program']
