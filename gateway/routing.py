"""The routing law: which version answers whom.

A model's traffic is a hundred slots, each owned by one version. An entity's slot is a hash of model, entity and the route's
salt, so it is the same in every process and after every restart. An experiment brings a salt of its own: who was together in
an arm of yesterday's is spread over all of today's. When weights change, a version that shrinks gives up its highest slots and
a version that grows takes them; nobody else is touched. Hence the law (proved in `tests/gateway/test_routing.py`):

- a version owns as many slots as its weight says;
- an entity leaves its version only if that version's weight fell: while a challenger only grows, its customers stay with it;
- no more slots change hands than the weights demand.

Cumulative intervals, the usual way, break the second point as soon as there are three versions: the middle interval slides.
"""

import random
from collections import Counter
from hashlib import blake2b

SLOTS = 100
MAX_SALT = 64
"""Bytes: what the hash takes as its key."""

Slots = tuple[str, ...]
"""`SLOTS` versions; empty when the model has no route yet."""


def assign(slots: Slots, weights: dict[str, int]) -> Slots:
    """The slots after a change to `weights` (percent, adding up to 100), moving as few as possible."""
    kept: Counter[str] = Counter()
    fresh: list[str | None] = []
    for version in slots or (None,) * SLOTS:
        if version is not None and kept[version] < weights.get(version, 0):
            kept[version] += 1
            fresh.append(version)
        else:
            fresh.append(None)
    due = iter([version for version, weight in sorted(weights.items()) for _ in range(weight - kept[version])])
    return tuple(version if version is not None else next(due) for version in fresh)


def slot(model: str, entity: str, salt: str = "") -> int:
    """Stable and even over [0, SLOTS). The model is hashed too, so that two models do not try out on the same customers.

    `salt`: at most `MAX_SALT` bytes; the slots of two salts have nothing to do with each other.
    """
    digest = blake2b(f"{model}\0{entity}".encode(), digest_size=8, key=salt.encode()).digest()
    return int.from_bytes(digest, "big") % SLOTS


def any_slot() -> int:
    """For requests that name no entity."""
    return random.randrange(SLOTS)


def check_salt(salt: str | None) -> str | None:
    """What is wrong with it, or None."""
    if salt is not None and len(salt.encode()) > MAX_SALT:
        return f"salt: at most {MAX_SALT} bytes are taken"
    return None


def check_weights(weights: dict[str, int]) -> str | None:
    """What is wrong with them, or None."""
    if not weights:
        return "weights: at least one version is needed"
    for version, weight in weights.items():
        if not 0 <= weight <= SLOTS:
            return f"weights.{version}: {weight} is not a percentage"
    if sum(weights.values()) != SLOTS:
        return f"weights: they add up to {sum(weights.values())}, not 100"
    return None


def check_shadow(shadow: dict[str, int], weights: dict[str, int]) -> str | None:
    """What is wrong with it, or None."""
    if len(shadow) > 1:
        return f"shadow: one version at a time gets copies, not {len(shadow)}"
    for version, percent in shadow.items():
        if not 1 <= percent <= 100:
            return f"shadow.{version}: {percent} is no percentage of the requests; leave it out to copy none"
        if weights.get(version):
            return f"shadow.{version}: it answers {weights[version]} % of the traffic itself, so it is no shadow"
    return None
