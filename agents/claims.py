"""What only one action may be at, at a time: claimed in the ledger with its intent, and let go when what it began is over."""

from agents.actions import Action, Retrain


def claim_of(action: Action) -> str | None:
    """None: the action holds nothing, because what it does is over when it returns, or is kept apart by what it changes."""
    match action:
        case Retrain(model=model):
            return f"training:{model}"
        case _:
            return None
