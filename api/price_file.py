"""The prices of an installation: a YAML file, or the list prices that everybody begins with."""

from pathlib import Path

from tools.costs.list_prices import LIST_PRICES
from tools.costs.prices import PriceBook, read_prices


def load(path: Path | None) -> PriceBook:
    """Raises PermanentError, which names the field."""
    return LIST_PRICES if path is None else read_prices(path)


def source(path: Path | None) -> str:
    """In words: where the prices are from."""
    if path is None:
        return "list-like defaults, nobody's bill (OPPEN_PRICES names no price book)"
    return f"the price book {path.name}"
