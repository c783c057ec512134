"""A Canary and its ConfigMaps as they were read, and what that says: who has which shares, and what is under way."""

from dataclasses import dataclass

from tools.errors import PermanentError
from tools.kubernetes.cluster import Object
from tools.kubernetes.config_maps import Configuration
from tools.rollouts import canaries
from tools.rollouts.canaries import Record
from tools.rollouts.port import Phase, Standing


@dataclass(frozen=True)
class Found:
    model: str
    name: str
    canary: Object | None
    record: Record | None
    config: Configuration
    primary: str | None
    """The version that Flagger's copy of the ConfigMap has."""
    target: str | None

    @property
    def token(self) -> int:
        return canaries.token(self.canary, self.record, self.config.data)

    @property
    def status(self) -> Object:
        return (self.canary or {}).get("status") or {}

    @property
    def phase(self) -> str:
        return str(self.status.get("phase") or "")

    @property
    def on_its_way(self) -> bool:
        return self.phase in ("Progressing", "WaitingPromotion")

    @property
    def failed(self) -> bool:
        """This revision, and not the one before, whose word stays until Flagger looks again."""
        word = canaries.condition_of(self.status)
        return self.record is not None and self.phase == "Failed" and word != self.record.condition

    @property
    def weights(self) -> dict[str, int]:
        target = self.target
        if target is None:
            raise PermanentError(f"{self.config.name}: the ConfigMap says no version of {self.model}")
        if self.primary is None:
            return {target: 100}
        share = share_of(self.canary or {})
        found = {self.primary: 100 - share}
        found[target] = found.get(target, 0) + share
        return {version: part for version, part in found.items() if part}

    def standing(self, token: int | None = None) -> Standing:
        weights, record = self.weights, self.record
        wanted = self._wanted()
        phase = Phase.SETTLED
        if record is not None and record.ending != "abort" and self.failed:
            phase = Phase.FAILED
        elif (wanted is not None and weights != wanted) or not self._copied:
            phase = Phase.MOVING
        said = next((str(each.get("message")) for each in self.status.get("conditions") or () if each.get("message")), "")
        detail = f"Flagger is {self.phase}: {said}" if self.phase else "Flagger has not taken it in hand yet"
        return Standing(
            model=self.model, weights=weights, token=self.token if token is None else token, phase=phase, detail=detail
        )

    @property
    def _copied(self) -> bool:
        """Whether a version that is to stay is the primary's: before, Flagger may still take it back."""
        record = self.record
        return record is None or record.ending not in ("promotion", "hand over") or self.primary == record.version

    def _wanted(self) -> dict[str, int] | None:
        """None: nothing is asked for but what there is."""
        record = self.record
        match record:
            case None:
                return None
            case Record(ending="promotion" | "hand over"):
                return {record.version: 100}
            case Record(ending="abort"):
                return {self.primary or record.from_version: 100}
            case _:
                shares = {record.version: record.asked, record.from_version: 100 - record.asked}
                return {version: share for version, share in shares.items() if share}


def share_of(canary: Object) -> int:
    """Of the canary, in percent. Waiting for its promotion it keeps what it has, and Flagger's status says 0."""
    status = canary.get("status") or {}
    weight = int(status.get("canaryWeight") or 0)
    match status.get("phase"):
        case "Progressing":
            return weight
        case "WaitingPromotion":
            return weight or min(100, (canary["spec"]["analysis"].get("stepWeights") or [100])[-1])
        case _:
            return 0
