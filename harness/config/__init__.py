"""Hydra composes `conf/`; the result is validated once into frozen dataclasses and never changes again."""
