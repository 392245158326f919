"""What a model learns and is scored by: the next token, masked tokens, or translations; all behind `Objective`."""
