"""What a controller that drives rollouts asks before each step, answered from the record, and what it tells.

An answer costs a few rows and one read of the controller's own object. Whatever cannot be read closes the gate, and what opens
is told on the incident's timeline before the answer leaves.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agents.actions import AbortRollout, Promote, StartRollout
from agents.gates import Answer, Gate, Record, decide
from agents.policies import Mode
from agents.proposals import Proposal
from api.store import actions, events, rollouts
from api.store.database import Database
from api.store.records import ActionRecord
from api.store.sessions import ReadSession
from api.store.text import storable
from tools.clock import Clock
from tools.rollouts.port import Canaries, Permit

_MOST = 500
"""Characters of a controller's message that are kept."""
_NUMBER = re.compile(r"\d+(\.\d+)?")
_CHATTER = ("Rollback hook ", "Confirm-")
"""What the answers to our own gates make it say, at every look."""


@dataclass(frozen=True)
class Asked:
    """What a controller says of itself when it asks. Text from outside."""

    namespace: str
    name: str
    model: str
    rollout: str
    checksum: str


class Gates:
    def __init__(self, database: Database, canaries: Canaries, mode: Callable[[], Awaitable[Mode]], clock: Clock) -> None:
        self._database = database
        self._canaries = canaries
        self._mode = mode
        self._clock = clock

    async def ask(self, gate: Gate, asked: Asked) -> Answer:
        """Raises TemporaryError when it cannot be told."""
        if not self._ours(asked):
            return Answer(open=False, reason="that is no Canary of a model here")
        permit = await self._canaries.permit(asked.model)
        if permit is not None and permit.rollout != asked.rollout:
            return Answer(open=False, reason="another rollout has been asked for since")
        observing = await self._mode() is Mode.OBSERVE
        async with self._database.read() as session:
            begun = await _begun(session, asked)
            record = None if begun is None else await _record(session, begun, permit, observing=observing)
        answer = decide(gate, record, permit, asked.checksum)
        if not answer.open or begun is None or permit is None:
            return answer
        return await self._told(gate, asked, permit, begun, answer)

    async def note(self, asked: Asked, message: str, phase: str, kind: str) -> bool:
        """What it tells goes to the timeline, once. False: it belongs to nothing here, or only repeats our own answers."""
        if not self._ours(asked) or message.startswith(_CHATTER) or not storable(message) or not storable(phase):
            return False
        async with self._database.begin() as transaction:
            begun = await _begun(transaction, asked)
            if begun is None:
                return False
            told = {"rollout": asked.rollout, "canary": asked.name, "phase": phase[:40], "kind": kind[:20]}
            key = f"{begun.key}/canary/{hashlib.sha256(f'{phase}/{_sense(message)}'.encode()).hexdigest()[:32]}"
            events.append(
                transaction,
                begun.incident_id,
                "rollout.controller",
                {**told, "message": message[:_MOST]},
                at=self._clock.now(),
                run_id=begun.run_id,
                key=key,
            )
        return True

    def _ours(self, asked: Asked) -> bool:
        known = asked.namespace == self._canaries.namespace and self._canaries.is_canary(asked.model, asked.name)
        return known and all(storable(text) for text in (asked.model, asked.rollout, asked.checksum))

    async def _told(self, gate: Gate, asked: Asked, permit: Permit, begun: ActionRecord, answer: Answer) -> Answer:
        """On the timeline, then open. Which revision was let in is read again: of two that ask at once, one is."""
        beginning = gate is Gate.CONFIRM_ROLLOUT and isinstance(_action(begun), StartRollout)
        key = _let_in(permit) if beginning else f"{begun.key}/gate/{gate}/{permit.asked}"
        data: dict[str, Any] = {"rollout": asked.rollout, "gate": gate.value, "reason": answer.reason}
        data |= {"checksum": asked.checksum}
        async with self._database.begin() as transaction:
            if await events.of_key(transaction, key) is None:
                at = self._clock.now()
                events.append(transaction, begun.incident_id, "rollout.gate", data, at=at, run_id=begun.run_id, key=key)
        if not beginning:
            return answer
        async with self._database.read() as session:
            told = await events.of_key(session, key)
        if told is None or told.data.get("checksum") != asked.checksum:
            return Answer(open=False, reason="another revision was let in at this moment")
        return answer


async def _begun(session: ReadSession, asked: Asked) -> ActionRecord | None:
    """The action that began what is asked about: the key of its proposal, and of its step where it is no rollout."""
    key = "/".join(asked.rollout.split("/")[:2])
    return await actions.get(session, key)


async def _record(session: ReadSession, begun: ActionRecord, permit: Permit | None, *, observing: bool) -> Record:
    row = await rollouts.of_proposal(session, begun.key)
    let_in = None if permit is None else await events.of_key(session, _let_in(permit))
    ends = [each.proposal for each in await actions.of_run(session, begun.run_id) if each.state != "failed"]
    others = [Proposal.model_validate(each).action for each in ends]
    action = _action(begun)
    version = action.version if isinstance(action, StartRollout | Promote) else None
    return Record(
        action=action,
        given_up=begun.state == "failed",
        done=begun.state == "done",
        status=None if row is None else row.status,
        ordered=None if row is None else row.ordered,
        weight=None if row is None else round(100 * row.stages[row.stage]["weight"]),
        promotes=any(isinstance(each, Promote) and each.version == version for each in others),
        aborts=any(isinstance(each, AbortRollout) and each.version == version for each in others),
        let_in=None if let_in is None else str(let_in.data.get("checksum")),
        observing=observing,
    )


def _sense(message: str) -> str:
    """A check that fails is told at every look, each time with another value: once is enough. Steps are told apart."""
    return message if message.startswith("Advance ") else _NUMBER.sub("#", message)


def _action(begun: ActionRecord) -> Any:
    return Proposal.model_validate(begun.proposal).action


def _let_in(permit: Permit) -> str:
    return f"{permit.revision}/gate/{Gate.CONFIRM_ROLLOUT}"
