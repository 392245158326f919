"""The applications that language models serve: prompts from examples, and grades of the answers."""
