"""The job controller and a node of one test cluster. A pod's command really runs, as a child process, and its limits are kept.

What is played is the machine around it: what images there are, how much room, and what the test does to a pod.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.kubernetes.store import BY_KIND, Object, Refusal, Store, now
from tools.jobs import processes

JOB, POD, EVENT = BY_KIND["Job"], BY_KIND["Pod"], BY_KIND["Event"]
_LOOK_S = 0.02
_RETRY_S = 0.1
"""Instead of the ten seconds that a cluster waits before it tries a job's pod again."""
ABSENT = "absent.invalid/"
"""Images that begin so cannot be pulled."""


@dataclass
class ContainerLog:
    lines: list[tuple[str, str]] = field(default_factory=list)
    open: bool = True


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    room: Path
    reader: threading.Thread
    limit: int | None
    usage: Path
    kill_at: float | None = None
    killed: bool = False
    """For its memory."""
    evicted: str | None = None


class Controllers:
    def __init__(self, store: Store, *, cores: float = 8, memory: int = 32 * 1024**3, gpus: int = 0) -> None:
        self._store = store
        self._room = {"cpu": cores, "memory": float(memory), "nvidia.com/gpu": float(gpus)}
        self._logs: dict[str, ContainerLog] = {}
        self._running: dict[str, Running] = {}
        self._lasting = Path(tempfile.mkdtemp(prefix="claims-"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._retry_at: dict[str, float] = {}
        self._taken: dict[str, set[str]] = {}
        """Pods that were ended by a Job's deadline, by Job."""
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        for uid in list(self._running):
            self._bury(uid)
        shutil.rmtree(self._lasting, ignore_errors=True)
        if self.failure is not None:
            raise self.failure

    # What a test does to it, and what the API server asks of a node.

    def log(self, namespace: str, pod: str) -> ContainerLog:
        uid = self._store.get(POD, namespace, pod)["metadata"]["uid"]
        return self._logs.get(uid, ContainerLog(open=False))

    def evict(self, namespace: str, pod: str, message: str) -> None:
        """As a kubelet does whose node has no room left: the pod stays, failed."""
        uid = self._store.get(POD, namespace, pod)["metadata"]["uid"]
        with self._store.moved:
            if uid in self._running:
                self._running[uid].evicted = message
                return
        self._end(self._store.get(POD, namespace, pod), None, evicted=message)

    # The loop.

    def _work(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                for job in self._store.find(JOB):
                    self._sync_job(job)
                for pod in self._store.find(POD):
                    self._sync_pod(pod)
            except Refusal as refusal:
                if refusal.code not in (404, 409):  # somebody else was faster: the next round sees how it is
                    self.failure = refusal
                    return
            except BaseException as error:  # noqa: BLE001 - shown by stop, in the test's own thread
                self.failure = error
                return

    def _sync_job(self, job: Object) -> None:
        metadata, spec = job["metadata"], job["spec"]
        status = dict(job.get("status") or {})
        if any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in status.get("conditions", ())):
            self._forget_in_time(job)
            return
        namespace, name = metadata["namespace"], metadata["name"]
        pods = [pod for pod in self._store.find(POD, namespace) if _owned(pod, metadata["uid"])]
        active = [pod for pod in pods if _phase(pod) in ("Pending", "Running", "")]
        failed, succeeded = ([pod for pod in pods if _phase(pod) == phase] for phase in ("Failed", "Succeeded"))
        status.setdefault("startTime", now())
        status.setdefault("conditions", [])
        taken = len(self._taken.get(metadata["uid"], ()))  # counts as failed, as in a real one
        status |= {"active": len(active), "failed": len(failed) + taken, "succeeded": len(succeeded)}
        deadline = spec.get("activeDeadlineSeconds")
        late = deadline is not None and time.time() >= _seconds(status["startTime"]) + deadline
        if succeeded:
            status["completionTime"] = now()
            _condition(status, "Complete", "", "")
        elif late and active:
            for pod in active:
                self._store.delete(POD, namespace, pod["metadata"]["name"])
                self._taken.setdefault(metadata["uid"], set()).add(pod["metadata"]["uid"])
        elif late:
            _condition(status, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif len(failed) > spec["backoffLimit"]:
            _condition(status, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif not active and not spec.get("suspend"):
            self._another_pod(job, len(failed))
        self._store.update(JOB, namespace, name, lambda item: {**item, "status": status}, status=True)

    def _another_pod(self, job: Object, failed: int) -> None:
        metadata = job["metadata"]
        if failed and time.monotonic() < self._retry_at.setdefault(f"{metadata['uid']}/{failed}", time.monotonic() + _RETRY_S):
            return
        template = job["spec"]["template"]
        account = template["spec"].get("serviceAccountName", "default")
        accounts = [item["metadata"]["name"] for item in self._store.find(BY_KIND["ServiceAccount"], metadata["namespace"])]
        if account not in ("default", *accounts):
            message = f'pods "{metadata["name"]}-" is forbidden: error looking up service account: "{account}" not found'
            self._say(job, "Job", "FailedCreate", f"Error creating: {message}")
            return
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": f"{metadata['name']}-",
                "labels": template["metadata"].get("labels", {}),
                "annotations": template["metadata"].get("annotations", {}),
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }
        made = self._store.create(POD, metadata["namespace"], pod)
        self._say(job, "Job", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}", "Normal")

    def _forget_in_time(self, job: Object) -> None:
        limit = job["spec"].get("ttlSecondsAfterFinished")
        ended = max(_seconds(c["lastTransitionTime"]) for c in job["status"]["conditions"])
        if limit is not None and time.time() >= ended + limit:
            self._store.delete(JOB, job["metadata"]["namespace"], job["metadata"]["name"])

    def _sync_pod(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._running:
            self._accompany(pod, self._running[uid])
        elif "deletionTimestamp" in pod["metadata"]:
            self._store.delete(POD, pod["metadata"]["namespace"], pod["metadata"]["name"], force=True)
        elif _phase(pod) in ("", "Pending") and self._schedule(pod):
            self._begin(pod)

    def _schedule(self, pod: Object) -> bool:
        held = [other for other in self._store.find(POD) if other["metadata"]["uid"] in self._running]
        for resource, room in self._room.items():
            used = sum(_wanted(other, resource) for other in held)
            if _wanted(pod, resource) > room - used:
                message = f"0/1 nodes are available: 1 Insufficient {resource}."
                condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
                self._set(pod, {"phase": "Pending", "conditions": [condition]})
                self._say(pod, "Pod", "FailedScheduling", message)
                return False
        return True

    def _begin(self, pod: Object) -> None:
        container = pod["spec"]["containers"][0]
        scheduled = {"type": "PodScheduled", "status": "True"}
        reason, message = "", ""
        if container["image"].startswith(ABSENT):
            reason, message = "ImagePullBackOff", f'Back-off pulling image "{container["image"]}"'
            self._say(pod, "Pod", "Failed", f'Failed to pull image "{container["image"]}": not found')
        else:
            try:
                environment = self._environment(pod, container)
            except Refusal as refusal:
                reason, message = "CreateContainerConfigError", str(refusal)
            missing = [name for name in _config_maps(pod) if not self._has(BY_KIND["ConfigMap"], pod, name)]
            if missing:
                reason, message = "ContainerCreating", ""
                self._say(pod, "Pod", "FailedMount", f'configmap "{missing[0]}" not found')
        if reason:
            waiting = {"reason": reason, **({"message": message} if message else {})}
            statuses = [_container_status(container, {"waiting": waiting})]
            self._set(pod, {"phase": "Pending", "conditions": [scheduled], "containerStatuses": statuses})
            return
        try:
            self._run(pod, container, environment)
        except OSError as error:
            self._cannot_start(pod, container, f"exec: {error}")
            return
        self._say(pod, "Pod", "Started", f"Started container {container['name']}", "Normal")
        running = [_container_status(container, {"running": {"startedAt": now()}})]
        self._set(pod, {"phase": "Running", "startTime": now(), "conditions": [scheduled], "containerStatuses": running})

    def _cannot_start(self, pod: Object, container: Object, message: str) -> None:
        terminated = {"exitCode": 128, "reason": "StartError", "message": message, "startedAt": now(), "finishedAt": now()}
        self._set(pod, {"phase": "Failed", "containerStatuses": [_container_status(container, {"terminated": terminated})]})

    def _environment(self, pod: Object, container: Object) -> dict[str, str]:
        found = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        for entry in container.get("env", ()):
            if "value" in entry:
                found[entry["name"]] = _expanded(entry["value"], found)
            else:
                source = entry["valueFrom"]["secretKeyRef"]
                secret = self._store.get(BY_KIND["Secret"], pod["metadata"]["namespace"], source["name"])
                found[entry["name"]] = secret["stringData"][source["key"]]
        return found

    def _run(self, pod: Object, container: Object, environment: dict[str, str]) -> None:
        """Folders of the test's stand for what is mounted, wherever a variable names it."""
        uid, namespace = pod["metadata"]["uid"], pod["metadata"]["namespace"]
        room = Path(tempfile.mkdtemp(prefix="pod-"))
        places: dict[str, Path] = {container.get("terminationMessagePath", "/dev/termination-log"): room / "termination-log"}
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        for mount in container.get("volumeMounts", ()):
            volume = volumes[mount["name"]]
            place = room / mount["name"]
            if "persistentVolumeClaim" in volume:
                place = self._lasting / volume["persistentVolumeClaim"]["claimName"] / mount.get("subPath", "")
            place.mkdir(parents=True, exist_ok=True)
            if "configMap" in volume:
                for name, text in self._store.get(BY_KIND["ConfigMap"], namespace, volume["configMap"]["name"])["data"].items():
                    (place / name).write_text(text)
            places[mount["mountPath"]] = place
        for name, value in environment.items():
            if value in places:
                environment[name] = str(places[value])
        command = [_expanded(word, environment) for word in container["command"]]
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=places.get(container.get("workingDir", ""), room),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log = self._logs[uid] = ContainerLog()
        reader = threading.Thread(target=_read, args=(process, log))
        reader.start()
        limit = container.get("resources", {}).get("limits", {}).get("memory")
        usage = places[container.get("terminationMessagePath", "/dev/termination-log")]
        self._running[uid] = Running(process, room, reader, int(limit) if limit else None, usage)

    def _accompany(self, pod: Object, running: Running) -> None:
        uid, process = pod["metadata"]["uid"], running.process
        pids = [process.pid, *processes.descendants(process.pid)]
        if running.limit is not None and process.poll() is None and processes.shared_fairly(pids) > running.limit:
            running.killed = True
        if running.killed or running.evicted is not None:
            processes.kill(pids, signal.SIGKILL)
        if "deletionTimestamp" in pod["metadata"]:
            if running.kill_at is None:
                running.kill_at = time.monotonic() + pod["spec"].get("terminationGracePeriodSeconds", 30)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
            if time.monotonic() > running.kill_at:
                processes.kill(pids, signal.SIGKILL)
        if process.poll() is None:
            return
        said = running.usage.read_text() if running.usage.exists() else ""
        self._bury(uid)
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        if "deletionTimestamp" in pod["metadata"]:
            self._store.delete(POD, pod["metadata"]["namespace"], pod["metadata"]["name"], force=True)
        else:
            self._end(pod, code, oom=running.killed, evicted=running.evicted, said=said)

    def _end(self, pod: Object, code: int | None, *, oom: bool = False, evicted: str | None = None, said: str = "") -> None:
        status: dict[str, Any] = {"phase": "Succeeded" if code == 0 and evicted is None else "Failed"}
        if code is not None:
            started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
            ended: dict[str, Any] = {
                "exitCode": code,
                "reason": "OOMKilled" if oom else "Completed" if code == 0 else "Error",
                "startedAt": started,
                "finishedAt": now(),
            }
            if said:
                ended["message"] = said
            status["containerStatuses"] = [_container_status(pod["spec"]["containers"][0], {"terminated": ended})]
        if evicted is not None:
            status |= {"reason": "Evicted", "message": evicted}
        self._set(pod, status)

    def _bury(self, uid: str) -> None:
        running = self._running.pop(uid)
        pids = [running.process.pid, *processes.descendants(running.process.pid)]
        processes.kill(pids if running.process.poll() is None else pids[1:], signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
        running.reader.join()
        if running.process.stdout is not None:
            running.process.stdout.close()
        shutil.rmtree(running.room, ignore_errors=True)

    def _set(self, pod: Object, change: Object) -> None:
        def apply(item: Object) -> Object:
            return {**item, "status": {**item.get("status", {}), **change}}

        self._store.update(POD, pod["metadata"]["namespace"], pod["metadata"]["name"], apply, status=True)

    def _has(self, resource: Any, pod: Object, name: str) -> bool:
        return any(item["metadata"]["name"] == name for item in self._store.find(resource, pod["metadata"]["namespace"]))

    def _say(self, about: Object, kind: str, reason: str, message: str, type_: str = "Warning") -> None:
        """Once; a real cluster counts repetitions in the same event."""
        metadata = about["metadata"]
        name = f"{metadata['name']}.{reason.lower()}"
        if self._has(EVENT, about, name):
            return
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name},
            "involvedObject": {
                "kind": kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "reason": reason,
            "message": message,
            "type": type_,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
        }
        self._store.create(EVENT, metadata["namespace"], event)


def _read(process: subprocess.Popen[bytes], log: ContainerLog) -> None:
    if process.stdout is not None:
        for line in process.stdout:
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            log.lines.append((stamp, line.decode(errors="replace").removesuffix("\n")))
    log.open = False


def _expanded(text: str, environment: dict[str, str]) -> str:
    """`$$` is a dollar, `$(NAME)` a variable where there is one."""

    def one(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        return environment.get(match.group(1), match.group())

    return re.sub(r"\$\$|\$\(([A-Za-z0-9_.-]+)\)", one, text)


def _owned(pod: Object, uid: str) -> bool:
    return uid in {owner["uid"] for owner in pod["metadata"].get("ownerReferences", ())}


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _wanted(pod: Object, resource: str) -> float:
    text = str(pod["spec"]["containers"][0].get("resources", {}).get("requests", {}).get(resource, "0"))
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _config_maps(pod: Object) -> list[str]:
    return [volume["configMap"]["name"] for volume in pod["spec"].get("volumes", ()) if "configMap" in volume]


def _container_status(container: Object, state: Object) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


def _condition(status: Object, kind: str, reason: str, message: str) -> None:
    condition = {"type": kind, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": message}
    status["conditions"] = [*status["conditions"], condition]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
