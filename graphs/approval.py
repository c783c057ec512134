"""Asking a person. The interrupt is only the cursor: who may decide, and whether it is still time, is settled in SQL."""

from typing import Any

from langgraph.types import interrupt

from agents.guard import Ask
from agents.narrative import card
from agents.proposals import Proposal, Verdict
from graphs.state import Answer, Asked

DECISIONS = ("approve", "edit", "reject")


def request(proposal: Proposal) -> dict[str, Any]:
    """LangChain's human-in-the-loop form, so that stock clients can show it."""
    name = proposal.action.kind
    args = proposal.action.model_dump(mode="json", exclude={"kind"})
    return {
        "action_requests": [{"name": name, "args": args, "description": card(proposal)}],
        "review_configs": [{"action_name": name, "allowed_decisions": list(DECISIONS)}],
    }


async def ask(state: Asked) -> Answer:
    """Holds the interrupt and nothing else: a node that interrupts runs again from its top."""
    judgement = state["judgement"]
    if not isinstance(judgement, Ask):
        raise TypeError(f"only what policy wants asked is asked, not {judgement!r}")
    question = {
        "kind": "approval",
        "request": request(state["proposal"]),
        "proposal": state["proposal"].model_dump(mode="json"),
        "quorum": judgement.quorum,
        "expires_at": judgement.expires_at.isoformat(),
    }
    return {"verdict": interrupt(question, response_schema=Verdict)}
