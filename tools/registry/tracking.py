"""MLflow's client, as the adapter uses it: plain blocking functions over plain values.

Runs in a child process (`tools.offload`), because MLflow takes seconds to import, blocks, and holds the interpreter. Only
values of the port and PortErrors leave it.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from tools.errors import Conflict, PermanentError, TemporaryError
from tools.leftovers import Discarded, Leftover
from tools.registry import artifacts, discarding, evaluations, serving_spec, signing
from tools.registry.digests import Digests
from tools.registry.discarding import TAG, Mark
from tools.registry.evaluations import Evaluation
from tools.registry.library import artifact_location, embedded_database, opened
from tools.registry.port import Alias, ArtifactFormat, ModelFiles, ModelVersion, TrainingRun
from tools.registry.quantizations import Quantization, quantized_artifact
from tools.registry.serving_spec import ServingSpec
from tools.tables import stored
from tools.tables.port import Distributions

_HTTP = {
    # Retrying is the caller's policy; MLflow's own would take minutes to say that a server is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
_PAGE = 1000
_LISTERS = 8


class Tracking:
    def __init__(self, uri: str, evaluation_key: str = "") -> None:
        """`evaluation_key`: what evaluations are signed with; empty: none is believed."""
        self._evaluation_key = evaluation_key
        for name, value in _HTTP.items():
            os.environ.setdefault(name, value)
        self._uri = uri
        with translated():
            # The process as a whole, because `mlflow-artifacts:` addresses are looked up at its own server.
            mlflow = opened(uri)
            self._client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._formats: dict[tuple[str, str, int], ArtifactFormat] = {}
        self._runs: dict[str, TrainingRun] = {}
        """Those that have ended: what they did does not change."""
        self._references: dict[tuple[str, str, int], Distributions | None] = {}
        self._digests = Digests()
        self._listers = ThreadPoolExecutor(_LISTERS)

    def models(self) -> tuple[str, ...]:
        with translated():
            return tuple(sorted(model.name for model in _pages(self._client.search_registered_models)))

    def versions(self, model: str) -> tuple[ModelVersion, ...]:
        artifacts.safe_name("model", model)
        with translated():
            found = list(_pages(self._client.search_model_versions, filter_string=f"name = '{model}'"))
            ordered = sorted(found, key=lambda version: int(version.version), reverse=True)
            # Formats are looked up once for each version; the first look at a long list is worth doing side by side.
            return tuple(self._listers.map(self._version, ordered))

    def version(self, model: str, version: str) -> ModelVersion:
        artifacts.safe_name("model", model)
        with translated():
            return self._version(self._client.get_model_version(model, _number(version)))

    def carried(self, model: str) -> dict[Alias, str]:
        artifacts.safe_name("model", model)
        with translated():
            found = _absent_is_none(self._client.get_registered_model, model)
        aliases: dict[str, Any] = dict(found.aliases) if found is not None else {}
        return {alias: str(aliases[alias.value]) for alias in Alias if alias.value in aliases}

    def put(self, model: str, alias: Alias, version: str | None, expected: str | None) -> str | None:
        """Returns what the alias is on afterwards; see `tools.registry.moves`."""
        current = self.carried(model).get(alias)
        if current != expected:
            raise Conflict(f"{model}@{alias} is on {current or 'no version'}, not on {expected or 'no version'}")
        with translated():
            if version is None:
                self._client.delete_registered_model_alias(model, alias.value)
            else:
                self._client.set_registered_model_alias(model, alias.value, _number(version))
        return self.carried(model).get(alias)

    def training_run(self, model: str, version: str) -> TrainingRun | None:
        run_id = self._run_id(model, version)
        if run_id in self._runs:
            return self._runs[run_id]
        run = self._run(run_id)
        if run is None or run_id is None:
            return None
        found = TrainingRun(
            run_id=run.info.run_id,
            status=run.info.status,
            started_at=_instant(run.info.start_time),
            ended_at=_instant(run.info.end_time) if run.info.end_time else None,
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            tags=dict(run.data.tags),
        )
        if found.ended_at is not None:
            self._runs[run_id] = found
        return found

    def reference(self, model: str, version: str) -> Distributions | None:
        """Read once for each version."""
        artifacts.safe_name("model", model)
        with translated():
            found = self._client.get_model_version(model, _number(version))
            key = (model, str(found.version), found.creation_timestamp)
            if key not in self._references:
                text = artifacts.note(self._repository(found), stored.FILE)
                self._references[key] = stored.read(text) if text is not None else None
        return self._references[key]

    def serving(self, model: str, version: str) -> ServingSpec | None:
        artifacts.safe_name("model", model)
        with translated():
            found = self._client.get_model_version(model, _number(version))
            text = artifacts.note(self._repository(found), serving_spec.FILE)
        try:
            return ServingSpec.model_validate_json(text) if text is not None else None
        except ValidationError:
            return None

    def signed(self, model: str, version: str, champion: str) -> Evaluation | None:
        """What an evaluation job of the platform has left, of whatever files; not remembered, because it may be made anew."""
        text = self._left(model, version, evaluations.signed_artifact(_number(champion)))
        if text is None:
            return None
        return signing.verified(text, self._evaluation_key, model=model, version=version, champion=champion)

    def evaluated(self, model: str, version: str) -> Evaluation | None:
        """The newest that an evaluation job of the platform has left of the version, beside whichever champion and of whatever
        files. What else lies there says nothing."""
        run = self._run(self._run_id(model, version))
        if run is None:
            return None
        with translated():
            repository = self._artifacts_of(run)
            listed = [entry.path for entry in repository.list_artifacts(evaluations.FOLDER) if not entry.is_dir]
        found = []
        for path in listed:
            champion = evaluations.champion_of(path)
            with contextlib.suppress(PermanentError):
                if champion is not None and (each := self.signed(model, version, champion)) is not None:
                    found.append(each)
        return max(found, key=lambda each: each.of, default=None)

    def quantization(self, model: str, version: str) -> Quantization | None:
        """What a quantisation job of the platform has left, of whatever files; not remembered, as an evaluation is not."""
        text = self._left(model, version, quantized_artifact(_number(version)))
        if text is None:
            return None
        return signing.verified_quantization(text, self._evaluation_key, model=model, version=version)

    def digest(self, model: str, version: str) -> str:
        """Of its files as they are now: takes as long as it takes to read them."""
        artifacts.safe_name("model", model)
        with translated():
            found = self._client.get_model_version(model, _number(version))
            return self._digests.of(
                self._repository(found), (model, str(found.version), found.creation_timestamp, found.source)
            )

    def claim(self, model: str, version: str, champion: str) -> Evaluation | None:
        text = self._left(model, version, evaluations.artifact(_number(champion)))
        try:
            return Evaluation.model_validate_json(text) if text is not None else None
        except ValidationError as error:
            raise PermanentError(f"the claim of {model} {version} beside {champion} cannot be read: {error}") from error

    def _left(self, model: str, version: str, path: str) -> bytes | None:
        """A small file of the version's run."""
        run = self._run(self._run_id(model, version))
        if run is None:
            return None
        with translated():
            return artifacts.document(self._artifacts_of(run), path)

    def stored(self, model: str) -> tuple[Leftover, ...]:
        artifacts.safe_name("model", model)
        with translated():
            found = list(_pages(self._client.search_model_versions, filter_string=f"name = '{model}'"))
        return tuple(each for version in found if (each := self._leftover(version)) is not None)

    def discard(self, item: Leftover, at: datetime) -> Discarded:
        """Nobody who moves aliases by our rules does so meanwhile. Raises Conflict."""
        artifacts.safe_name("model", item.model)
        with translated():
            found = self._client.get_model_version(item.model, _number(item.name))
            self._refuse_carrier(item)
            if discarding.seen(found.source, found.creation_timestamp) != item.seen:
                raise Conflict(f"{item.model} {item.name} is not what was listed")
            address, folder = self._files_of(found)
            marked = discarding.mark(found.tags)
            if marked is None:
                marked = Mark(at=at, size_bytes=item.size_bytes, aside=folder is not None)
                self._client.set_model_version_tag(item.model, item.name, TAG, marked.model_dump_json())
            elif not marked.aside and folder is not None and not folder.is_dir():
                return marked.told  # it was emptied since
            if folder is not None:
                discarding.put_aside(folder)
            else:
                self._repository_at(address).delete_artifacts()
            self._formats.pop((found.name, str(found.version), found.creation_timestamp), None)
            try:
                self._refuse_carrier(item)
            except Conflict:
                if folder is not None and discarding.put_back(folder):
                    self._client.delete_model_version_tag(item.model, item.name, TAG)
                raise
        return marked.told

    def restore(self, model: str, version: str) -> None:
        artifacts.safe_name("model", model)
        with translated():
            found = self._client.get_model_version(model, _number(version))
            if discarding.mark(found.tags) is None:
                return
            _, folder = self._files_of(found)
            if folder is None or not discarding.put_back(folder):
                raise PermanentError(f"{model} {version}: its files are gone for good")
            self._client.delete_model_version_tag(model, version, TAG)
            self._formats.pop((found.name, str(found.version), found.creation_timestamp), None)

    def empty(self, before: datetime) -> int:
        with translated():
            discarded = list(_pages(self._client.search_model_versions, filter_string=f"tags.`{TAG}` != ''"))
        return sum(self._empty(found, before) for found in discarded)

    def _empty(self, found: Any, before: datetime) -> int:
        marked = discarding.mark(found.tags)
        if marked is None or not discarding.is_before(marked, before):
            return 0
        freed = 0
        with translated():
            with contextlib.suppress(PermanentError):  # its files are not where they were: what is there is none of ours
                _, folder = self._files_of(found)
                if folder is not None and discarding.aside(folder).is_dir():
                    shutil.rmtree(discarding.aside(folder))
                    freed = marked.size_bytes
            gone = marked.model_copy(update={"aside": False}).model_dump_json()
            self._client.set_model_version_tag(found.name, str(found.version), TAG, gone)
        return freed

    def _leftover(self, found: Any) -> Leftover | None:
        """None for a version whose files are gone, shared, or not where the registry keeps them."""
        if discarding.mark(found.tags) is not None:
            return None
        try:
            with translated():
                address, folder = self._files_of(found)
                size = discarding.weigh(folder) if folder is not None else discarding.weigh_listed(self._repository_at(address))
        except PermanentError:
            return None
        return Leftover(
            kind="version",
            model=found.name,
            name=str(found.version),
            size_bytes=size,
            since=_instant(found.creation_timestamp),
            seen=discarding.seen(found.source, found.creation_timestamp),
        )

    def _files_of(self, found: Any) -> tuple[str, Path | None]:
        """Where the version's own files lie, and the folder where that is on this machine. Raises PermanentError for files that
        are not its own."""
        what = f"{found.name} {found.version}"
        address = self._client.get_model_version_download_uri(found.name, str(found.version)).rstrip("/")
        run = self._run(found.run_id or None)
        if run is None:
            raise PermanentError(f"{what}: no run is known that made it, so whose its files are is not known either")
        homes = [run.info.artifact_uri.rstrip("/"), *self._logged(found)]
        if not any(address.startswith(f"{home}/") for home in homes) and address not in homes[1:]:
            raise PermanentError(f"{what}: its files are not among those of its run")
        for other in _pages(self._client.search_model_versions, filter_string=f"run_id = '{found.run_id}'"):
            if (other.name, str(other.version)) != (found.name, str(found.version)):
                theirs = self._client.get_model_version_download_uri(other.name, str(other.version)).rstrip("/")
                if f"{theirs}/".startswith(f"{address}/") or f"{address}/".startswith(f"{theirs}/"):
                    raise PermanentError(f"{what}: {other.name} {other.version} has the same files")
        if urlsplit(address).scheme not in ("", "file"):
            return address, None
        home = artifact_location(self._uri)
        if home is None:
            raise PermanentError(f"{what} is in a folder of the tracking server's machine, not of this one")
        folder, root = _local(address), _local(home)
        if not discarding.owned(folder, root):
            raise PermanentError(f"{what}: its files are not in the registry's own folder")
        return address, folder

    def _logged(self, found: Any) -> list[str]:
        """Where MLflow keeps the logged model that the version was made from."""
        if not found.model_id:
            return []
        logged = _absent_is_none(self._client.get_logged_model, found.model_id)
        return [logged.artifact_location.rstrip("/")] if logged is not None else []

    def _refuse_carrier(self, item: Leftover) -> None:
        """Aliases of any name: also those that are none of ours."""
        aliases = self._client.get_registered_model(item.model).aliases
        for name, version in aliases.items():
            if str(version) == item.name:
                raise Conflict(f"{item.model} {item.name} carries the alias {name}")

    def fetch(self, model: str, version: str, into: Path) -> ModelFiles:
        """Reuses a copy of the same version, and any copy while the registry does not answer."""
        target = into / artifacts.safe_name("model", model) / artifacts.safe_name("version", version)
        there = (target / artifacts.ORIGIN).is_file()
        try:
            with translated():
                found = self._client.get_model_version(model, _number(version))
        except TemporaryError:
            if not there:
                raise
            return ModelFiles(model=model, version=version, folder=target, format=artifacts.format_of(target))
        origin = json.dumps({"source": found.source, "created": found.creation_timestamp})
        if there and (target / artifacts.ORIGIN).read_text() == origin:
            return ModelFiles(model=model, version=version, folder=target, format=artifacts.format_of(target))
        with translated():
            copied = artifacts.copy(self._repository(found), target, origin)
        return ModelFiles(model=model, version=version, folder=target, format=copied)

    def _version(self, found: Any) -> ModelVersion:
        version = str(found.version)
        return ModelVersion(
            model=found.name,
            version=version,
            created_at=_instant(found.creation_timestamp),
            run_id=found.run_id or None,
            status=str(found.status),
            format=self._format(found),
            tags=dict(found.tags),
        )

    def _format(self, found: Any) -> ArtifactFormat:
        key = (found.name, str(found.version), found.creation_timestamp)
        if key not in self._formats:
            try:
                with translated():
                    self._formats[key] = artifacts.detect(self._repository(found))
            except PermanentError:
                # Its artifacts are gone, or in a place that is not read: such a version can be listed, but not served.
                self._formats[key] = "unknown"
        return self._formats[key]

    def _run_id(self, model: str, version: str) -> str | None:
        artifacts.safe_name("model", model)
        with translated():
            return self._client.get_model_version(model, _number(version)).run_id or None

    def _run(self, run_id: str | None) -> Any:
        """None where it is not known."""
        with translated():
            return _absent_is_none(self._client.get_run, run_id) if run_id else None

    def _artifacts_of(self, run: Any) -> artifacts.Repository:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        address = run.info.artifact_uri
        if urlsplit(address).scheme in ("", "file") and embedded_database(self._uri) is None:
            raise PermanentError(f"the artifacts of run {run.info.run_id} are in a folder of the tracking server's machine")
        repository: artifacts.Repository = get_artifact_repository(address, tracking_uri=self._uri, registry_uri=self._uri)
        return repository

    def _repository_at(self, address: str) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(address, tracking_uri=self._uri, registry_uri=self._uri)

    def _repository(self, found: Any) -> artifacts.Repository:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        address = self._client.get_model_version_download_uri(found.name, str(found.version))
        if urlsplit(address).scheme in ("", "file") and embedded_database(self._uri) is None:
            raise PermanentError(
                f"{found.name} {found.version} is in a folder of the tracking server's machine, not of this one"
            )
        repository: artifacts.Repository = get_artifact_repository(address, tracking_uri=self._uri, registry_uri=self._uri)
        return repository


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """MLflow's exceptions in our two words, without the passwords that an address may hold."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        message = _clean(str(error))
        status = error.get_http_status_code()
        # Its answer to a refused connection and to a locked database is 500, like that to a fault of the server.
        if status >= 500 or status == 429:
            raise TemporaryError(f"MLflow does not answer: {message}") from error
        raise PermanentError(f"MLflow: {message}") from error
    except OSError as error:
        raise TemporaryError(f"the registry's files: {_clean(str(error))}") from error


def _clean(message: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//", message)[:2000]


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=_PAGE, page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _absent_is_none(get: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return get(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _number(version: str) -> str:
    """MLflow's versions are numbers; anything else does not exist."""
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        raise PermanentError(f"there is no version {version!r}: MLflow counts 1, 2, 3")
    return version


def _local(address: str) -> Path:
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(address))


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
