"""JouleBench: what a language model's quality costs in energy, and how sure one can be."""

__version__ = "0.1.0"
