"""What is worth saving, and when a saving counts as shown. Data, as all policies are."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from agents.cost.batching import BatchingRules
from agents.cost.retention import Keeping
from agents.cost.scaling import ScaleDownRules
from agents.cost.spot import SpotRules
from agents.schedules import known as cron_known
from tools.values import Duration, Frozen, Share


class Optimizations(Frozen):
    review: str | None = None
    """Cron expression, UTC, at which the model's cost is looked through; None: by no clock, but when somebody asks or a cost
    alert comes."""
    looked_at: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=7)
    """How much of the ledger a review looks at: a whole week has each hour of it once."""
    min_saving: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=6)] = Decimal("0.10")
    """Expected per day at best, in the ledger's currency: what saves less is not worth anybody's minute."""
    overlap: Share = 0.8
    """Of the longer stretch of data, that two trainings of the same command have to share to be the same training twice."""
    longest_payback: Duration = timedelta(days=30)
    """An experiment that takes longer to be earned back is not worth it: by then there is another champion."""
    verify: Annotated[Duration, Field(ge=timedelta(hours=1))] = timedelta(days=1)
    """For so long the ledger may take to show a saving: a whole day, because hours differ. It is looked at after a quarter of
    it, after half and at its end; what is not shown by then is taken back."""
    billed: Literal["held", "used"] = "held"
    """What is paid for where models are served: workers while they are held, so that processor time that is freed is money
    only once fewer are held; or what is used of them."""
    least_hours: int = Field(default=6, ge=3, le=168)
    """Before and after: of fewer hours a spread says little, and no saving is claimed."""
    scale_down: ScaleDownRules = ScaleDownRules()
    batching: BatchingRules = BatchingRules()
    spot: SpotRules = SpotRules()
    keeping: Keeping = Keeping()
    """Of old versions, checkpoints and logs."""
    level: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """How often, over all looks at one, a saving may be claimed that is none (or a loss that is none)."""

    @field_validator("review")
    @classmethod
    def _cron(cls, text: str | None) -> str | None:
        if text is not None and not cron_known(text):
            raise ValueError("write five fields: minute, hour, day of month, month, day of week, e.g. 0 6 * * *")
        return text

    @model_validator(mode="after")
    def _time_enough(self) -> Self:
        if self.verify < timedelta(hours=self.least_hours):
            raise ValueError("verify: at least least_hours, or no saving could ever be shown")
        return self
