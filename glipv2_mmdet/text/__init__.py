"""Everything that is true of words, without a network: prompts, tokens, positive maps, chunks, negatives, masks."""

from glipv2_mmdet.text.answer_vocabulary import AnswerVocabularyError, read_answers
from glipv2_mmdet.text.captions import close_up, word_spans
from glipv2_mmdet.text.chunking import PromptChunk, chunk_prompt
from glipv2_mmdet.text.masking import MaskedTokens, StepGenerators, mask_tokens, maskable_tokens
from glipv2_mmdet.text.negatives import sample_prompt_classes
from glipv2_mmdet.text.noun_phrases import find_noun_phrases
from glipv2_mmdet.text.packing import pack_captions
from glipv2_mmdet.text.positive_map import phrase_scores, phrase_token_map
from glipv2_mmdet.text.prompt import (
    Phrase,
    Prompt,
    PromptError,
    clean_class_name,
    parse_prompt,
    prompt_from_caption,
    prompt_from_classes,
)
from glipv2_mmdet.text.question import question_prompt
from glipv2_mmdet.text.tokenize import PromptTokenizer, TokenBatch, TokenizedPrompt

__all__ = [
    'AnswerVocabularyError',
    'MaskedTokens',
    'Phrase',
    'Prompt',
    'PromptChunk',
    'PromptError',
    'PromptTokenizer',
    'StepGenerators',
    'TokenBatch',
    'TokenizedPrompt',
    'chunk_prompt',
    'clean_class_name',
    'close_up',
    'find_noun_phrases',
    'mask_tokens',
    'maskable_tokens',
    'pack_captions',
    'parse_prompt',
    'phrase_scores',
    'phrase_token_map',
    'prompt_from_caption',
    'prompt_from_classes',
    'question_prompt',
    'read_answers',
    'sample_prompt_classes',
    'word_spans',
]
