"""Flagger, as far as it follows `stepWeights`: its phases, its webhooks over HTTP, its status, after its `scheduler.go`.

What is played is the mesh (`routes`: the canary's share) and the pods, which are ready at once. Each look is one pass over all
Canaries; `check` stands for the metric checks.
"""

import base64
import contextlib
import hashlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tests.kubernetes.store import BY_KIND, Object, Refusal, Store

CANARY, CONFIG_MAP, METRIC_TEMPLATE = BY_KIND["Canary"], BY_KIND["ConfigMap"], BY_KIND["MetricTemplate"]
_TIMEOUT_S = 10


class Flagger:
    def __init__(self, store: Store, *, config_map: str = "{canary}-serving", every_s: float = 0.02) -> None:
        """`config_map`: that the Deployment of a Canary reads, which Flagger finds in its pods."""
        self._store = store
        self._config_map = config_map
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.routes: dict[str, int] = {}
        self.check: Callable[[Object], bool] = lambda _: True
        self.calls: list[tuple[str, int]] = []
        """Of gates: type, and the status that was answered; 0: nothing was."""
        self._looking, self._away = threading.Lock(), False
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _work(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                with self._looking:
                    if not self._away:
                        self.look()
            except BaseException as error:  # noqa: BLE001 - shown by stop, in the test's own thread
                self.failure = error
                return

    def go_away(self) -> None:
        """When it has ended the look that it is at, which may ask somebody: not to be called in that one's thread."""
        with self._looking:
            self._away = True

    def come_back(self) -> None:
        self._away = False

    def look(self) -> None:
        for canary in self._store.find(CANARY):
            with contextlib.suppress(Refusal):  # somebody has taken it away meanwhile
                self._advance(canary)

    def _advance(self, canary: Object) -> None:
        if canary["spec"].get("suspend"):
            return None
        name, phase = canary["metadata"]["name"], (canary.get("status") or {}).get("phase", "")
        if phase in ("", "Initializing"):
            self._promote(canary)
            self.routes[name] = 0
            return self._sync(canary, "Initialized")
        if phase not in ("Progressing", "Waiting", "WaitingPromotion", "Promoting", "Finalising") and not self._changed(canary):
            return None
        if phase in ("Initialized", "Succeeded", "Failed", "Waiting"):
            return self._confirm_rollout(canary)
        if phase in ("Progressing", "WaitingPromotion") and self._changed(canary):
            self.routes[name] = 0
            self._sync(canary, "Progressing")
            return self._event(canary, f"New revision detected! Restarting analysis for {name}")
        return self._go_on(canary, name, phase)

    def _confirm_rollout(self, canary: Object) -> None:
        before = canary["status"]["phase"]
        self._sync(canary, "Progressing")
        canary = self._again(canary)
        if not self._gate(canary, "confirm-rollout"):
            self._set_phase(canary, "Waiting")
            if before != "Waiting":
                self._event(canary, "Halt advancement waiting for approval")
            return
        self._event(canary, "New revision detected! Scaling up")
        self._sync(canary, "Progressing")

    def _go_on(self, canary: Object, name: str, phase: str) -> None:
        share, analysis = self.routes.get(name, 0), canary["spec"]["analysis"]
        if canary["spec"].get("skipAnalysis"):
            self.routes[name] = 0
            self._promote(canary)
            self._set_phase(canary, "Succeeded")
            return self._event(canary, "Promotion completed! Canary analysis was skipped")
        if phase in ("Progressing", "WaitingPromotion") and self._gate(canary, "rollback", missing=False):
            self._event(canary, f"Rolling back {name} manual webhook invoked")
            return self._roll_back(canary)
        if phase == "Promoting":
            self.routes[name] = 0
            return self._set_phase(canary, "Finalising")
        if phase == "Finalising":
            self._set_phase(canary, "Succeeded")
            return self._event(canary, "Promotion completed! Scaling down")
        failed = int(canary["status"].get("failedChecks") or 0)
        if failed >= int(analysis.get("threshold") or 1):
            self._event(canary, f"Rolling back {name} failed checks threshold reached {failed}")
            return self._roll_back(canary)
        if share and not self.check(canary):
            return self._status(canary, failedChecks=failed + 1)
        if phase != "WaitingPromotion" and not self._gate(canary, "confirm-traffic-increase"):
            return None
        steps = [int(step) for step in analysis["stepWeights"]]
        if share < min(100, steps[-1]):
            self.routes[name] = next((step for step in steps if step > share), 100)
            self._status(canary, canaryWeight=self.routes[name])
            return self._event(canary, f"Advance {name} canary weight {self.routes[name]}")
        if not self._gate(canary, "confirm-promotion"):
            return self._set_phase(canary, "WaitingPromotion") if phase != "WaitingPromotion" else None
        self._promote(canary)
        self._set_phase(canary, "Promoting")
        return self._event(canary, f"Copying {name} template spec to {name}-primary")

    def _roll_back(self, canary: Object) -> None:
        self.routes[canary["metadata"]["name"]] = 0
        self._sync(canary, "Failed")
        self._event(canary, "Canary failed! Scaling down")

    # What it writes.

    def _status(self, canary: Object, **values: Any) -> None:
        def change(item: Object) -> Object:
            item["status"] = {**item.get("status", {}), **values, "lastTransitionTime": _now()}
            return item

        metadata = canary["metadata"]
        self._store.update(CANARY, metadata["namespace"], metadata["name"], change, status=True)

    def _sync(self, canary: Object, phase: str) -> None:
        zeros = {"canaryWeight": 0, "failedChecks": 0, "iterations": 0}
        tracked = {f"configmap/{self._config(canary)['metadata']['name']}": _digest(self._config(canary).get("data"))}
        condition = self._condition(canary, phase)
        self._status(canary, phase=phase, trackedConfigs=tracked, lastAppliedSpec="1", conditions=condition, **zeros)

    def _set_phase(self, canary: Object, phase: str) -> None:
        zeros = {} if phase in ("Progressing", "Waiting") else {"canaryWeight": 0, "iterations": 0}
        self._status(canary, phase=phase, conditions=self._condition(canary, phase), **zeros)

    def _condition(self, canary: Object, phase: str) -> list[Object]:
        before = (self._again(canary).get("status") or {}).get("conditions") or []
        if before and before[0]["reason"] == phase:
            return before
        status = {"Succeeded": "True", "Initialized": "True", "Failed": "False"}.get(phase, "Unknown")
        said = f"Canary is {phase}."
        return [{"type": "Promoted", "status": status, "reason": phase, "message": said, "lastUpdateTime": _now()}]

    def _promote(self, canary: Object) -> None:
        config = self._config(canary)
        metadata = {"name": f"{config['metadata']['name']}-primary"}
        copied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": config.get("data") or {}}
        namespace = canary["metadata"]["namespace"]
        try:
            self._store.update(CONFIG_MAP, namespace, metadata["name"], lambda item: {**item, "data": copied["data"]})
        except Refusal:
            self._store.create(CONFIG_MAP, namespace, copied)

    # What it reads and asks.

    def _again(self, canary: Object) -> Object:
        return self._store.get(CANARY, canary["metadata"]["namespace"], canary["metadata"]["name"])

    def _config(self, canary: Object) -> Object:
        name = self._config_map.format(canary=canary["metadata"]["name"])
        return self._store.get(CONFIG_MAP, canary["metadata"]["namespace"], name)

    def _changed(self, canary: Object) -> bool:
        config = self._config(canary)
        tracked = (canary.get("status") or {}).get("trackedConfigs") or {}
        return bool(tracked.get(f"configmap/{config['metadata']['name']}") != _digest(config.get("data")))

    def _gate(self, canary: Object, kind: str, *, missing: bool = True) -> bool:
        """Whether all hooks of that type let it through."""
        hooks = [hook for hook in canary["spec"]["analysis"].get("webhooks") or () if hook.get("type") == kind]
        answers = [self._call(canary, hook, dict(hook.get("metadata") or {})) for hook in hooks]
        self.calls += [(kind, answer) for answer in answers]
        return all(200 <= answer <= 202 for answer in answers) if answers else missing

    def _event(self, canary: Object, message: str) -> None:
        for hook in canary["spec"]["analysis"].get("webhooks") or ():
            if hook.get("type") == "event":
                told = {
                    "eventMessage": message,
                    "eventType": "Normal",
                    "timestamp": str(int(datetime.now(UTC).timestamp() * 1000)),
                }
                self._call(canary, hook, {**(hook.get("metadata") or {}), **told})

    def _call(self, canary: Object, hook: Object, metadata: dict[str, str]) -> int:
        """As Go's client does: the user of the URL becomes basic authentication."""
        address = urlsplit(hook["url"])
        user, _, place = address.netloc.rpartition("@")
        status = canary.get("status") or {}
        body = {
            "name": canary["metadata"]["name"],
            "namespace": canary["metadata"]["namespace"],
            "phase": status.get("phase", ""),
            "checksum": _digest([status.get("lastAppliedSpec"), status.get("trackedConfigs")]),
            "metadata": metadata,
        }
        request = urllib.request.Request(urlunsplit(address._replace(netloc=place)), json.dumps(body).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        if user:
            request.add_header("Authorization", "Basic " + base64.b64encode(unquote(user).encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0


@contextmanager
def running_flagger(store: Store, **settings: Any) -> Iterator[Flagger]:
    flagger = Flagger(store, **settings)
    flagger.start()
    try:
        yield flagger
    finally:
        flagger.stop()


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _now() -> str:
    """Finer than Flagger's seconds: here two revisions fail in one."""
    return datetime.now(UTC).isoformat()
