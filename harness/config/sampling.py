"""How the next token of a generated text is chosen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.config.base import Count, NonNegative, option


@option
class SamplingConfig:
    """How the next token is chosen: the likeliest at a temperature of 0, else drawn."""

    temperature: NonNegative
    top_k: Count | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
