"""Pictures of what the model read, found, said and answered; importing this package registers the visualizer."""

from .text_panel import Line, PanelText, panel_of, wrap
from .visualizer import GLIPv2Visualizer

__all__ = ['GLIPv2Visualizer', 'Line', 'PanelText', 'panel_of', 'wrap']
