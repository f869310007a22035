"""Everything that is true of words, without a network: prompts, tokens, positive maps, chunks, negatives."""
from .chunking import PromptChunk, chunk_prompt
from .negatives import sample_prompt_classes
from .noun_phrases import find_noun_phrases
from .positive_map import phrase_scores, phrase_token_map
from .prompt import (
    Phrase,
    Prompt,
    PromptError,
    clean_class_name,
    parse_prompt,
    prompt_from_caption,
    prompt_from_classes,
)
from .tokenize import PromptTokenizer, TokenBatch, TokenizedPrompt

__all__ = [
    'Phrase', 'Prompt', 'PromptChunk', 'PromptError', 'PromptTokenizer', 'TokenBatch', 'TokenizedPrompt',
    'chunk_prompt', 'clean_class_name', 'find_noun_phrases', 'parse_prompt', 'phrase_scores',
    'phrase_token_map', 'prompt_from_caption', 'prompt_from_classes', 'sample_prompt_classes'
]
