"""Text: corpora, their splits, tokenizers, and the token windows that training and scoring consume."""
