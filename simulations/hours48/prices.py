"""What things cost in this world, whose traffic costs $50 a day: most for being there, the rest by what is computed.

A row here stands for some thousand customers of a shop that would cost so much, so a second that the gateway computes has the
price of the thousands of seconds that it stands for. How long the gateway takes for the shop's model is measured once, before
the clock starts, with customers of the past and by the gateway's own meter: another machine has other seconds, and the same
bill. What comes after that is measured, and nothing is set: what version 6 takes, what INT8 saves, what a job lasts. Idle
workers are left out of the figures: of an hour that passes in a second nearly all is idle, and at that price it would be all of
the bill.
A training stands for nothing but itself: the policies of the scenario reserve a small part of such a core for it, which is its
weight (`training.cpu` in hours48.yaml).
"""

import asyncio

import httpx
import msgspec

from simulations.hours48.clients import request
from simulations.hours48.world import Rows

STANDING_PER_DAY = 42.8
"""Load balancers and what else is paid for being there."""
COMPUTED_PER_DAY = 7.2
"""For the versions before INT8, at this world's traffic. INT8 saves two thirds of it or a little more: the shop's $5 a day."""
ROWS_PER_DAY = 2_400 * 24
_ROWS, _WARM, _CALLS = 200, 10, 60
"""As many customers at once as the shop's clients ask about in one turn; and how often, at first in vain and then measured."""
_APART_S = 0.02
"""As far apart as the clients' turns when the clock goes fast: the model is in the processor's cache no more and no less than
then, which makes a half of what a call takes."""


def price_book(seconds_per_row: float) -> str:
    """As YAML (docs/costs.md)."""
    per_second = COMPUTED_PER_DAY / ROWS_PER_DAY / seconds_per_row
    return "\n".join(
        [
            "currency: USD",
            "prices:",
            f'  - {{resource: cpu, unit: core-second, price: "{per_second:.6f}", from: 2000-01-01T00:00:00Z}}',
            '  - {resource: memory, unit: GiB-hour, price: "0", from: 2000-01-01T00:00:00Z}',
            '  - {resource: storage, unit: GiB-month, price: "0.04", from: 2000-01-01T00:00:00Z}',
            f'  - {{resource: load_balancer, unit: hour, price: "{STANDING_PER_DAY / 24:.6f}", from: 2000-01-01T00:00:00Z}}',
            "",
        ]
    )


async def seconds_per_row(gateway: str, model: str, past: Rows) -> float:
    """Of a processor, as the gateway itself tells it of the version that it serves."""
    async with httpx.AsyncClient(base_url=gateway, timeout=30) as client:
        before = (0.0, 0)
        for call in range(_WARM + _CALLS):
            if call == _WARM:
                before = await _told(client, model)
            rows = past.part(slice(call * _ROWS, (call + 1) * _ROWS))
            (await client.post(f"/v2/models/{model}/infer", content=request(rows))).raise_for_status()
            await asyncio.sleep(_APART_S)
        seconds, count = await _told(client, model)
        return (seconds - before[0]) / (count - before[1])


async def _told(client: httpx.AsyncClient, model: str) -> tuple[float, int]:
    """Processor seconds, and rows."""
    versions = msgspec.json.decode((await client.get(f"/admin/batches/{model}")).raise_for_status().content)["versions"]
    return sum(each["cpu_s"] for each in versions), sum(each["rows"] for each in versions)
