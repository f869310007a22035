"""Pictures of what the model read, found, said and answered; importing this package registers the visualizer."""

from glipv2_mmdet.visualization.browsing import PaintedSample, annotated_panel, paint_samples
from glipv2_mmdet.visualization.heatmaps import WordHeatmaps, draw_word_heatmaps, word_heatmaps
from glipv2_mmdet.visualization.text_panel import Line, PanelText, panel_of, wrap
from glipv2_mmdet.visualization.visualizer import GLIPv2Visualizer

__all__ = [
    'GLIPv2Visualizer',
    'Line',
    'PaintedSample',
    'PanelText',
    'WordHeatmaps',
    'annotated_panel',
    'draw_word_heatmaps',
    'paint_samples',
    'panel_of',
    'word_heatmaps',
    'wrap',
]
