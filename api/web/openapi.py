"""The OpenAPI document: what FastAPI finds in the routes, with the answers that every route of a kind can give.

Errors are derived from what an operation has (a key, a body, parameters), so that none is documented that cannot come, and none
comes that is not documented; a route names only those that are its own.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict

from api.problems import FieldError
from api.web import experiment_examples, optimization_examples
from api.web.errors import MEDIA_TYPE
from api.web.examples import EXAMPLES, TEXTS
from api.web.examples_cost_signals import COST_SIGNALS
from api.web.examples_costs import COSTS, EXPORTS
from api.web.examples_reconciliation import RECONCILIATION
from api.web.examples_usage import USAGE

_TITLE = "OPPEN"
_ABOUT = """Alerts in, approved actions out.

Times are RFC 3339 in UTC. Lists that grow are pages: `items`, and `next_cursor` to hand in as `cursor`. Errors are
`application/problem+json` (RFC 9457) and name the field. A decision and a change of mode take an `Idempotency-Key`; alerts are
known by their own identity. Every answer has an `X-Request-ID`, which is in the log too.
"""
_TAGS = {
    "alerts": "What comes in. 202 says that everything that follows from it is on disk.",
    "incidents": "What is wrong, what was found, and what is being done about it; live as server-sent events.",
    "approvals": "Questions to people, and their answers.",
    "autonomy": "How much the platform may do by itself, and the kill switch.",
    "triggers": "What people ask for: a check, a training, a rollout, a review of costs.",
    "hooks": "What a controller of traffic asks before each step, and tells.",
    "rollouts": "Challengers beside their champions, stage by stage.",
    "experiments": "Versions beside each other, each entity staying with its own: which is better, and whether one harms.",
    "optimizations": "What is done to save money: expected, tried, and shown by the ledger.",
    "jobs": "Trainings under way, and what became of them.",
    "models": "Versions, aliases and traffic, as the registry and the gateway have them.",
    "drift": "How far a model's data has moved and why, and how right the model is.",
    "lineage": "Where things come from: raw batches, code, feature views, models.",
    "datasets": "Tables of raw data: what was measured of their batches, and whether they get worse.",
    "features": "What is known about entities, as training and serving see it.",
    "costs": "What it all costs: by whom, by what and over time, each level adding up to the cent.",
    "audit": "Who did what: append-only, hash-chained.",
    "keys": "Who may call this.",
    "health": "For probes and scrapers.",
}
_DESCRIPTIONS = {
    400: "The body cannot be read.",
    401: "No valid credentials.",
    403: "Not allowed to this principal.",
    404: "There is no such thing.",
    409: "The state has moved on, or somebody decided already.",
    410: "The time to decide is over.",
    412: "The fingerprint is another one.",
    413: "The body is too large.",
    415: "The body is no JSON by its Content-Type.",
    422: "A field does not hold what it should; `errors` says which.",
    429: "Too many keys that do not hold came from this address; see Retry-After.",
    501: "This installation lacks the library that this needs.",
    503: "Overloaded, or a dependency does not answer; see Retry-After.",
}
_EXAMPLES = {
    **EXAMPLES,
    **experiment_examples.EXAMPLES,
    **optimization_examples.EXAMPLES,
    **USAGE,
    **COSTS,
    **COST_SIGNALS,
    **RECONCILIATION,
}
_TEXTS = {**TEXTS, **EXPORTS}
_PAGE = "PageView_"
"""What FastAPI begins the name of a page's schema with."""
_SENDER = {
    "type": "http",
    "scheme": "bearer",
    "description": "What OPPEN_SENDERS has for the source: a token, basic auth, an HMAC signature or a Canary's own password.",
}


class ProblemView(BaseModel):
    """RFC 9457, as `application/problem+json`."""

    model_config = ConfigDict(
        title="Problem",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:oppen:problem:already-decided",
                    "title": "Somebody has decided this already",
                    "status": 409,
                    "detail": "apr_0198c0ffee00700080000000000000aa was approved by ada",
                }
            ]
        },
    )

    type: str
    """`urn:oppen:problem:` and a word that programs may rely on."""
    title: str
    status: int
    detail: str
    """What happened, and what to do."""
    errors: list[FieldError] | None = None


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: the problems that are its own."""
    return {status: _problem(status) for status in statuses}


def document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        tags = [{"name": name, "description": description} for name, description in _TAGS.items()]
        schema = get_openapi(
            title=_TITLE, version=app.version, openapi_version="3.1.0", routes=app.routes, description=_ABOUT, tags=tags
        )
        components = schema["components"]
        components["securitySchemes"]["Sender"] = _SENDER
        models = components["schemas"]
        models["Problem"] = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
        models.update(models["Problem"].pop("$defs"))
        for unused in ("HTTPValidationError", "ValidationError"):
            models.pop(unused, None)
        for name, example in _EXAMPLES.items():
            models[name]["examples"] = [example]
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                _complete(path, operation)
                _illustrate(operation["responses"])
        app.openapi_schema = schema
    return app.openapi_schema


def _complete(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if responses.get("422", {}).get("description") == "Validation Error":
        del responses["422"]
    if not path.startswith("/v1"):
        return
    schemes = {name for needed in operation.get("security", ()) for name in needed}
    roles = [role for needed in operation.get("security", ()) for role in needed.get("ApiKey", ())]
    if roles:
        said = f"Needs the role {roles[0]}."
        operation["description"] = f"{operation['description']}\n\n{said}" if "description" in operation else said
    statuses = {503}
    statuses |= {401, 403, 429} if "ApiKey" in schemes else {401}
    statuses |= {404} if "{" in path else set()
    statuses |= {400, 413, 415, 422} if "requestBody" in operation else set()
    statuses |= {422} if any(each["in"] != "path" for each in operation.get("parameters", ())) else set()
    for status in sorted(statuses):
        responses.setdefault(str(status), _problem(status))


def _illustrate(responses: dict[str, Any]) -> None:
    """Pages show one item of their kind; texts, which have no schema of their own, what they look like."""
    for response in responses.values():
        for media_type, content in response.get("content", {}).items():
            if media_type in _TEXTS:
                content["example"] = _TEXTS[media_type]
            elif (name := content["schema"].get("$ref", "").rpartition("/")[2]).startswith(_PAGE):
                content["example"] = {"items": [_EXAMPLES[name.removeprefix(_PAGE).rstrip("_")]], "next_cursor": None}


def _problem(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": _DESCRIPTIONS[status], "content": content}
