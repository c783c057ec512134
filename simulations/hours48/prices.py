"""What things cost in this world, whose traffic costs $50 a day: most for being there, the rest by what is computed.

A row here stands for some thousand customers of a shop that would cost so much, so a second that the gateway computes has the
price of the thousands of seconds that it stands for. How fast this machine computes is measured once, before the clock starts:
another machine has other seconds, and the same bill. Idle workers are left out of the figures: of an hour that passes in a
second nearly all is idle, and at that price it would be all of the bill. A training stands for nothing but itself: the policies
of the scenario reserve a small part of such a core for it, which is its weight (`training.cpu` in hours48.yaml).
"""

import statistics
import time

STANDING_PER_DAY = 37.5
"""Load balancers and what else is paid for being there."""
COMPUTED_PER_DAY = 12.5
"""For version 5, at this world's traffic."""
ROWS_PER_DAY = 2_400 * 24
_BATCH, _CALLS = 40, 60
_OTHERS = 8_000_000
"""Numbers that are read between two calls: in the gateway, too, the model is no longer in the processor's cache when the next
request comes, which doubles what a call takes."""


def price_book(width: int) -> str:
    """As YAML (docs/costs.md)."""
    per_second = COMPUTED_PER_DAY / ROWS_PER_DAY / seconds_per_row(width)
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


def seconds_per_row(width: int) -> float:
    """Of a processor, for the shop's model; the median of some calls."""
    import torch

    from simulations.hours48.training import Scorer
    from simulations.hours48.world import FEATURES

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        scorer = Scorer(torch.zeros(len(FEATURES)), torch.ones(len(FEATURES)), width).eval()
        rows, others, taken = torch.randn(_BATCH, len(FEATURES)), torch.zeros(_OTHERS), []
        with torch.inference_mode():
            for _ in range(_CALLS):
                others.sum()
                begun = time.thread_time()
                scorer(rows)
                taken.append(time.thread_time() - begun)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(taken) / _BATCH
