"""Pictures of what the model read, found, said and answered; importing this package registers the visualizer."""

from .browsing import PaintedSample, annotated_panel, paint_samples
from .heatmaps import WordHeatmaps, draw_word_heatmaps, word_heatmaps
from .text_panel import Line, PanelText, panel_of, wrap
from .visualizer import GLIPv2Visualizer

__all__ = [
    'GLIPv2Visualizer', 'Line', 'PaintedSample', 'PanelText', 'WordHeatmaps', 'annotated_panel', 'draw_word_heatmaps',
    'paint_samples', 'panel_of', 'word_heatmaps', 'wrap'
]
