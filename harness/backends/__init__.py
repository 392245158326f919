"""Engines that run a model: each loads it, and answers through the interface of `Generator`."""
