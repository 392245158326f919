"""Models: our own GPT family, and any Hugging Face causal language model; all behind `LoadedModel`."""
