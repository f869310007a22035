# The pre-training sources with prompts counted by CLIP's vocabulary, that of the text encoder at the B and H scales.
_base_ = './pretrain_sources.py'

prompt_vocab = 'data/clip_vocab'
train_pipeline = [
    dict(step, vocab=prompt_vocab) if step['type'] == 'BuildPrompt' else step for step in _base_.train_pipeline
]
sources = {name: dict(pipeline=train_pipeline) for name in _base_.sources}
