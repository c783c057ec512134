"""Waiting is an interrupt that the engine wakes: hours pass without holding anything, and a restart forgets nothing."""

from datetime import datetime

from langgraph.types import interrupt
from typing_extensions import TypedDict


class Waiting(TypedDict):
    wake_at: datetime


async def wait(state: Waiting) -> None:
    """Park until `wake_at`; the runner resumes with the moment it woke at."""
    interrupt({"kind": "wait", "until": state["wake_at"].isoformat()})
