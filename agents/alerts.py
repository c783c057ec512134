"""Alerts in one normal form, whoever sent them."""

from typing import Annotated, Literal

from pydantic import Field

from tools.values import Frozen, Instant

Severity = Literal["info", "warning", "critical"]


class Alert(Frozen):
    """One fact from outside or from a monitor of ours. Identity: `fingerprint` + `starts_at`."""

    source: str
    """Configured name of the sender, e.g. `alertmanager`."""
    fingerprint: Annotated[str, Field(min_length=1, max_length=128)]
    status: Literal["firing", "resolved"]
    name: str
    severity: Severity = "warning"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: Instant
    ends_at: Instant | None = None
    """None while it fires."""
    group_key: str = ""
    link: str = ""

    @property
    def identity(self) -> str:
        return f"{self.fingerprint}@{self.starts_at.isoformat()}"
