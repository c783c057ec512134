"""Prediction ids: 32 hexadecimal digits that sort by time, like a UUID of version 7, and cannot be guessed, so that nobody
labels another's prediction. Random bytes are fetched in stock, because each call to the system lets go of the interpreter."""

import os

_RANDOM = 20
"""Hexadecimal digits: 80 bits, as in a UUID."""
_STOCK = 256


class PredictionIds:
    def __init__(self) -> None:
        self._stock = ""
        self._place = 0

    def next(self, at: int) -> str:
        """`at`: microseconds since the epoch."""
        if self._place == len(self._stock):
            self._stock = os.urandom(_STOCK * _RANDOM // 2).hex()
            self._place = 0
        start = self._place
        self._place += _RANDOM
        return f"{at // 1000:012x}{self._stock[start : self._place]}"
