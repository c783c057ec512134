"""What Terraform grants, read from its files: the test cluster grants the same, so an adapter that wants more is refused."""

from pathlib import Path
from typing import Any

import hcl2

from tests.kubernetes.server import Right

TERRAFORM = Path(__file__).parents[2] / "infra" / "terraform"


def read(path: Path) -> dict[str, Any]:
    """A file of Terraform's, with texts as they are; expressions stay `${...}`."""
    with path.open() as file:
        plain: dict[str, Any] = _plain(hcl2.load(file))
    return plain


def granted(where: str) -> frozenset[Right]:
    """To the service in the namespace of `jobs`, in its own (`service`), or where Flagger rolls models out (`rollouts`)."""
    (found,) = read(TERRAFORM / "modules/plan/rights.tf")["locals"]
    rules = found[{"jobs": "rights_on_jobs", "service": "rights_on_serving", "rollouts": "rights_on_rollouts"}[where]]
    return frozenset(
        (group, resource, verb)
        for rule in rules
        for group in rule["api_groups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(name): _plain(part) for name, part in value.items() if name != "__is_block__"}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value
