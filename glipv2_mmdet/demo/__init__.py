"""The web demo: upload an image, type a prompt, see boxes, masks, answers and captions. Needs the extra ``demo``.

    glipv2 demo --detect CONFIG CHECKPOINT

The package does not import this one: without gradio everything else works.
"""
