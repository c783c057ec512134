"""What nodes are called.

    dataset:lake/trips    batch:trips/KEY    features:VIEW@VERSION    model:flights/3    job:oppen/ingest.trips    run:UUID

Batches of what is not in the lake have two slashes and their namespace: `batch://training/flights/KEY`. Two datasets whose
namespace and name are the same text are one: `s3://bucket` and `a/b` is the same place as `s3://bucket/a` and `b`.
"""

import hashlib
import re

from tools.errors import PermanentError
from tools.lineage.port import FEATURES, LAKE, MODELS, NodeKind

MAX_NAME = 2_000
"""Characters of a name or a key: above what file systems and object stores allow for theirs."""
MAX_ID = 6_000
"""Of a node's id: a namespace, a name, a key, and what is between them."""

_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_VERSIONED = {FEATURES: NodeKind.FEATURES, MODELS: NodeKind.MODEL}
_FORM = re.compile(rf"({'|'.join(NodeKind)}):.+", re.DOTALL)


def dataset(namespace: str, name: str) -> str:
    return f"{NodeKind.DATASET}:{namespace}/{name}"


def batch(namespace: str, name: str, key: str) -> str:
    if namespace == LAKE and _TABLE.fullmatch(name):
        return f"{NodeKind.BATCH}:{name}/{key}"
    return f"{NodeKind.BATCH}://{namespace}/{name}/{key}"


def features(view: str, version: str) -> str:
    return f"{NodeKind.FEATURES}:{view}@{version}"


def model(name: str, version: str) -> str:
    return f"{NodeKind.MODEL}:{name}/{version}"


def job(namespace: str, name: str) -> str:
    return f"{NodeKind.JOB}:{namespace}/{name}"


def run(run_id: str) -> str:
    return f"{NodeKind.RUN}:{run_id.lower()}"


def versioned(namespace: str, name: str, version: str) -> tuple[NodeKind, str] | None:
    """Kind and id of what has a node for each version; None for datasets of other namespaces, which are one node."""
    match _VERSIONED.get(namespace):
        case NodeKind.FEATURES:
            return NodeKind.FEATURES, features(name, version)
        case NodeKind.MODEL:
            return NodeKind.MODEL, model(name, version)
        case _:
            return None


def key(node: str) -> str:
    """Of fixed length, to store and to sort by: ids may be long."""
    return hashlib.blake2b(node.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def checked(node: str) -> str:
    """Raises PermanentError for what can be no node's id."""
    if not _FORM.fullmatch(node) or len(node) > MAX_ID:
        raise PermanentError(
            f"{node[:200]!r} is no node: write model:NAME/VERSION, dataset:NAMESPACE/NAME, batch:TABLE/KEY, "
            "features:VIEW@VERSION, job:NAMESPACE/NAME or run:UUID"
        )
    return node
