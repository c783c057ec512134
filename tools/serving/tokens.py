"""What tokens cost: prices per million, exact decimals. Money never passes through a float."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tools.values import Frozen

MILLION = 1_000_000
COST_SCALE = 15
"""Decimals of a cost: nine of a price, six of a million."""


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError('write a price as text, such as "0.15": a float is not exact')
    return value


Price = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, max_digits=15, decimal_places=9)]


class TokenPrices(Frozen):
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """ISO 4217."""
    input: Price
    """Of a million prompt tokens."""
    output: Price
    """Of a million completion tokens."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """Not rounded."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / MILLION
