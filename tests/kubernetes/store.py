"""The state of an API server: objects with versions, what happened to them, and the rules about changing them.

Written after the Kubernetes API's own documents (API concepts, labels, garbage collection), as far as the platform uses them,
and refuses the rest, so that nothing passes here for a reason that a real server does not have.
"""

import base64
import copy
import json
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

Object = dict[str, Any]

SCHEMAS = "1.37"
"""Version of Kubernetes whose schemas every object is checked against, strictly."""


class Refusal(Exception):
    """Answered as a `Status`."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


@dataclass(frozen=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def title(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


RESOURCES = tuple(
    Resource(*row)
    for row in (
        ("", "v1", "namespaces", "Namespace", False, ("status",)),
        ("", "v1", "pods", "Pod", True, ("status", "log", "eviction")),
        ("", "v1", "events", "Event"),
        ("", "v1", "configmaps", "ConfigMap"),
        ("", "v1", "secrets", "Secret"),
        ("", "v1", "serviceaccounts", "ServiceAccount"),
        ("batch", "v1", "jobs", "Job", True, ("status",)),
        ("apps", "v1", "deployments", "Deployment", True, ("status", "scale")),
        ("flagger.app", "v1beta1", "canaries", "Canary", True, ("status",)),
        ("flagger.app", "v1beta1", "metrictemplates", "MetricTemplate", True, ("status",)),
    )
)
BY_PLURAL = {(resource.group, resource.plural): resource for resource in RESOURCES}
BY_KIND = {resource.kind: resource for resource in RESOURCES}

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Change:
    version: int
    type: str
    resource: Resource
    object: Object
    before: Object | None


class Store:
    def __init__(self) -> None:
        self.moved = threading.Condition(threading.RLock())
        self._objects: dict[tuple[Resource, str, str], Object] = {}
        self._history: list[Change] = []
        self._forgotten = 0
        self.version = 100
        self.create(BY_KIND["Namespace"], "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})

    # Reading.

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        with self.moved:
            try:
                return copy.deepcopy(self._objects[resource, namespace, name])
            except KeyError:
                raise _not_found(resource, name) from None

    def find(
        self, resource: Resource, namespace: str | None = None, chosen: Callable[[Object], bool] = lambda _: True
    ) -> list[Object]:
        with self.moved:
            found = [
                copy.deepcopy(item)
                for (of, where, _), item in sorted(self._objects.items(), key=lambda entry: entry[0][1:])
                if of == resource and namespace in (None, where)
            ]
        return [item for item in found if chosen(item)]

    def page(
        self, resource: Resource, namespace: str | None, chosen: Callable[[Object], bool], limit: int, following: str | None
    ) -> tuple[list[Object], int, str | None]:
        """Items, the version of the list, and where it goes on. Later pages show the present, not the first page's moment."""
        with self.moved:
            start, version = "", self.version
            if following:
                try:
                    token = json.loads(base64.urlsafe_b64decode(following))
                    start, version = token["start"], token["version"]
                except (ValueError, KeyError):
                    raise Refusal(400, "BadRequest", "continue key is not valid") from None
                if version < self._forgotten:
                    raise _expired()
            found = [item for item in self.find(resource, namespace, chosen) if _place(item) > start]
            if not limit or len(found) <= limit:
                return found, version, None
            token = json.dumps({"start": _place(found[limit - 1]), "version": version})
            return found[:limit], version, base64.urlsafe_b64encode(token.encode()).decode()

    def since(self, version: int) -> list[Change]:
        """Raises the refusal 410 when that is forgotten."""
        with self.moved:
            if version < self._forgotten:
                raise _expired()
            return [change for change in self._history if change.version > version]

    def forget(self) -> None:
        """As etcd's compaction does: what happened up to now can be asked for no longer."""
        with self.moved:
            self._history.clear()
            self._forgotten = self.version
            self.moved.notify_all()

    # Changing.

    def create(self, resource: Resource, namespace: str, manifest: Object) -> Object:
        item = copy.deepcopy(manifest)
        _typed(resource, item)
        metadata = item.setdefault("metadata", {})
        if resource.namespaced and metadata.setdefault("namespace", namespace) != namespace:
            raise Refusal(400, "BadRequest", "the namespace of the object does not match the namespace on the request")
        if "resourceVersion" in metadata:
            raise Refusal(400, "BadRequest", "resourceVersion should not be set on objects to be created")
        if "name" not in metadata and "generateName" in metadata:
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        _check(resource, item)
        with self.moved:
            if resource.namespaced and (BY_KIND["Namespace"], "", namespace) not in self._objects:
                raise _not_found(BY_KIND["Namespace"], namespace)
            name = metadata["name"]
            if (resource, namespace, name) in self._objects:
                raise Refusal(
                    409, "AlreadyExists", f'{resource.title} "{name}" already exists', name=name, kind=resource.plural
                )
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1}
            if "status" in resource.subresources:
                item["status"] = {}
            _default(resource, item)
            return self._put("ADDED", resource, item, None)

    def update(
        self, resource: Resource, namespace: str, name: str, change: Callable[[Object], Object], *, status: bool = False
    ) -> Object:
        """`change`: from what is there to what shall be; the version it names, if any, must be the one that is there."""
        with self.moved:
            before = self.get(resource, namespace, name)
            after = change(copy.deepcopy(before))
            _typed(resource, after)
            wanted = after["metadata"].get("resourceVersion")
            if wanted not in (None, "", before["metadata"]["resourceVersion"]):
                raise Refusal(
                    409,
                    "Conflict",
                    f'Operation cannot be fulfilled on {resource.title} "{name}": the object has been modified; '
                    "please apply your changes to the latest version and try again",
                )
            for fixed in (
                "name",
                "namespace",
                "uid",
                "creationTimestamp",
                "generation",
                "resourceVersion",
                "deletionTimestamp",
            ):
                if fixed in ("name", "uid") and after["metadata"].get(fixed) not in (None, before["metadata"].get(fixed)):
                    raise Refusal(422, "Invalid", f"metadata.{fixed}: Invalid value: field is immutable")
                after["metadata"].pop(fixed, None)
                if fixed in before["metadata"]:
                    after["metadata"][fixed] = before["metadata"][fixed]
            if status:
                after = {**before, "status": after.get("status", {})}
            elif "status" in resource.subresources:
                after["status"] = before.get("status", {})
            if not status:
                _check(resource, after)
                _immutable(resource, before, after)
            if after.get("spec") != before.get("spec"):
                after["metadata"]["generation"] += 1
            if after == before:
                return before
            return self._put("MODIFIED", resource, after, before)

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, force: bool = False) -> Object:
        """A pod is only marked, and goes once its container has ended, or with `force`. What it owns goes after it."""
        with self.moved:
            item = self.get(resource, namespace, name)
            if uid is not None and uid != item["metadata"]["uid"]:
                raise Refusal(409, "Conflict", f"the UID in the precondition ({uid}) does not match the UID in record")
            if resource.kind == "Pod" and not force:
                if "deletionTimestamp" in item["metadata"]:
                    return item
                before = copy.deepcopy(item)
                item["metadata"]["deletionTimestamp"] = now()
                return self._put("MODIFIED", resource, item, before)
            del self._objects[resource, namespace, name]
            self.version += 1
            gone = copy.deepcopy(item)
            gone["metadata"]["resourceVersion"] = str(self.version)
            self._history.append(Change(self.version, "DELETED", resource, gone, item))
            self.moved.notify_all()
            self._collect(resource, item)
            return gone

    def _collect(self, resource: Resource, owner: Object) -> None:
        gone = owner["metadata"]["uid"]
        for (of, namespace, name), item in list(self._objects.items()):
            owners = {reference["uid"] for reference in item["metadata"].get("ownerReferences", ())}
            if owners == {gone} or (resource.kind == "Namespace" and namespace == owner["metadata"]["name"]):
                self.delete(of, namespace, name)

    def _put(self, kind: str, resource: Resource, item: Object, before: Object | None) -> Object:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self._objects[resource, item["metadata"].get("namespace", ""), item["metadata"]["name"]] = item
        self._history.append(Change(self.version, kind, resource, copy.deepcopy(item), before))
        self.moved.notify_all()
        return copy.deepcopy(item)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def _schema(kind: str, api_version: str) -> Any:
    """None where neither Kubernetes nor `flagger_schemas` has such a kind."""
    import jsonschema
    from kubernetes_validate.utils import SchemaNotFoundError, schema_contents
    from referencing import Registry
    from referencing import Resource as Contents

    from tests.kubernetes.flagger_schemas import SCHEMAS as OF_FLAGGER

    if (own := OF_FLAGGER.get((api_version, kind))) is not None:
        return jsonschema.validators.Draft202012Validator(own)
    place = f"kubernetes-json-schema/v{SCHEMAS}.0-local-strict"
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    try:
        schema = schema_contents(f"{place}/{kind.lower()}-{group}.json", SCHEMAS)
    except (FileNotFoundError, SchemaNotFoundError):
        return None
    definitions = Contents.from_contents(schema_contents(f"{place}/_definitions.json", SCHEMAS))
    registry = definitions @ (Contents.from_contents(schema) @ Registry())
    return jsonschema.validators.Draft202012Validator(schema, registry=registry)


def has_schema(manifest: Object) -> bool:
    """Else `faults` finds none."""
    return _schema(manifest["kind"], manifest["apiVersion"]) is not None


def faults(manifest: Object) -> list[str]:
    """What Kubernetes' own schema, with unknown fields refused, has against it."""
    validator = _schema(manifest["kind"], manifest["apiVersion"])
    if validator is None:
        return []
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(manifest)]


def _check(resource: Resource, item: Object) -> None:
    metadata = item["metadata"]
    if not isinstance(metadata.get("name"), str) or not _NAME.fullmatch(metadata["name"]):
        raise Refusal(422, "Invalid", f"metadata.name: Invalid value: {metadata.get('name')!r}: a lowercase RFC 1123 subdomain")
    if found := faults({name: part for name, part in item.items() if name != "status"}):
        raise Refusal(422, "Invalid", f'{resource.kind} "{metadata["name"]}" is invalid: {"; ".join(found[:3])}')
    carriers = [metadata]
    if resource.kind in ("Job", "Deployment"):
        carriers.append(item["spec"]["template"].get("metadata", {}))
        if len(metadata["name"]) > 63:
            raise Refusal(422, "Invalid", "metadata.name: must be no more than 63 characters")
    for carrier in carriers:
        for name, value in (carrier.get("labels") or {}).items():
            if not _LABEL_KEY.fullmatch(name) or not _LABEL.fullmatch(value):
                raise Refusal(422, "Invalid", f"metadata.labels: Invalid value: {name}={value!r}")
        for name in carrier.get("annotations") or {}:
            if not _LABEL_KEY.fullmatch(name):
                raise Refusal(422, "Invalid", f"metadata.annotations: Invalid value: {name!r}")


def _immutable(resource: Resource, before: Object, after: Object) -> None:
    fixed: list[tuple[str, ...]] = []
    if resource.kind == "Job":
        fixed = [("spec", "template"), ("spec", "selector"), ("spec", "completions")]
    if resource.kind == "ConfigMap" and before.get("immutable"):
        fixed = [("data",), ("binaryData",), ("immutable",)]
    for path in fixed:
        if _at(before, path) != _at(after, path):
            raise Refusal(422, "Invalid", f"{'.'.join(path)}: Invalid value: field is immutable")


def _default(resource: Resource, item: Object) -> None:
    if resource.kind == "Job":
        name, uid = item["metadata"]["name"], item["metadata"]["uid"]
        own = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
        item["spec"].setdefault("backoffLimit", 6)
        item["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        template = item["spec"]["template"]
        template.setdefault("metadata", {}).setdefault("labels", {}).update(own)
    if resource.kind == "Deployment":
        item["spec"].setdefault("replicas", 1)


def _typed(resource: Resource, item: Object) -> None:
    if item.get("kind") != resource.kind or item.get("apiVersion") != resource.api_version:
        raise Refusal(400, "BadRequest", f"the object provided is no {resource.api_version} {resource.kind}")


def _at(item: Object, path: tuple[str, ...]) -> Any:
    for step in path:
        item = item.get(step) or {}
    return item


def _place(item: Object) -> str:
    return f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def _not_found(resource: Resource, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{resource.title} "{name}" not found', name=name, kind=resource.plural)


def _expired() -> Refusal:
    return Refusal(410, "Expired", "The resourceVersion for the provided watch is too old.")
