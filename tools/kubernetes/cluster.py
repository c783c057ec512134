"""An API server through the official client: its credentials, TLS and connections, with plain objects in and out.

The client's typed models are left out on purpose: they refuse what a newer server answers (an enumeration's new member, a null
where they have none), and a watch that dies of that is no watch. What we send is checked against the server's own schemas in
tests. Calls block in threads of their own, a few at a time; a stream has one thread to itself, for as long as it is open.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from tools.errors import PermanentError, TemporaryError
from tools.kubernetes.errors import translated
from tools.kubernetes.kinds import Kind

Object = dict[str, Any]

_CONNECT_S, _READ_S = 3.05, 30.0
_PAGE = 500
_THREADS = 8
_CONNECTIONS = 32
"""More than threads: a stream holds one."""
MERGE, JSON_PATCH, STRATEGIC = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
)


class Cluster:
    """One API server and one namespace. Every call raises TemporaryError or PermanentError, see `tools.kubernetes.errors`."""

    def __init__(self, configuration: Any, namespace: str) -> None:
        """`configuration`: of the official client. Made by `connected`, and closed by whoever made it."""
        from kubernetes.client import ApiClient
        from urllib3 import Retry

        # A call that never left is repeated whatever it is; one that may have arrived, only if it changes nothing. The rest is
        # for the caller, who knows whether his call bears repeating.
        configuration.retries = Retry(
            total=3, connect=3, read=2, status=0, redirect=0, other=0, backoff_factor=0.1, allowed_methods={"GET"}
        )
        configuration.connection_pool_maxsize = _CONNECTIONS
        self.namespace = namespace
        self._client = ApiClient(configuration)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="kubernetes")

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, wait=True)
        self._client.close()

    async def get(self, kind: Kind, name: str, subresource: str | None = None) -> Object:
        return await self._call("GET", kind.path(self.namespace, name, subresource))

    async def list(
        self, kind: Kind, *, labels: str | None = None, fields: str | None = None, limit: int = _PAGE, most: int | None = None
    ) -> tuple[tuple[Object, ...], str]:
        """All of them (or about `most`), page by page, and the resourceVersion that a watch goes on from."""
        found: list[Object] = []
        query: dict[str, Any] = {"labelSelector": labels, "fieldSelector": fields, "limit": limit}
        while True:
            page = await self._call("GET", kind.path(self.namespace), query)
            # Members of a list come without these two.
            found += [{"apiVersion": kind.api, "kind": kind.name, **item} for item in page.get("items") or ()]
            following = page["metadata"].get("continue")
            if not following or (most is not None and len(found) >= most):
                return tuple(found), str(page["metadata"]["resourceVersion"])
            query["continue"] = following

    async def create(self, kind: Kind, manifest: Mapping[str, Any]) -> Object:
        """Unknown fields are refused by the server. Raises AlreadyExists."""
        return await self._call("POST", kind.path(self.namespace), {"fieldValidation": "Strict"}, dict(manifest))

    async def replace(self, kind: Kind, name: str, manifest: Mapping[str, Any], subresource: str | None = None) -> Object:
        """Conflict when it has changed since the manifest's resourceVersion."""
        path = kind.path(self.namespace, name, subresource)
        return await self._call("PUT", path, {"fieldValidation": "Strict"}, dict(manifest))

    async def patch(self, kind: Kind, name: str, change: Any, subresource: str | None = None, *, form: str = MERGE) -> Object:
        """With a resourceVersion among the metadata of a merge patch: Conflict when it has changed since."""
        path = kind.path(self.namespace, name, subresource)
        return await self._call("PATCH", path, {"fieldValidation": "Strict"}, change, form)

    async def delete(self, kind: Kind, name: str, *, uid: str | None = None) -> None:
        """With all that it owns, in the background. `uid`: only this very one, else Conflict."""
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        await self._call("DELETE", kind.path(self.namespace, name), {}, options)

    async def stream(self, path: str, query: Mapping[str, Any], *, quiet_s: float) -> AsyncGenerator[bytes]:
        """Lines as they come, until the server ends them; TemporaryError when nothing comes for `quiet_s`, or it breaks off."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="kubernetes stream")
        response: Any = None
        opening = thread.submit(self._open, "GET", path, query, None, None, quiet_s)
        try:
            response = await asyncio.wrap_future(opening)
            pieces = response.stream(amt=None if response.chunked else 65536, decode_content=False)
            begun = b""
            while (piece := await loop.run_in_executor(thread, self._next, pieces, path)) is not None:
                *lines, begun = (begun + piece).split(b"\n")
                for line in lines:
                    yield line
            if begun:
                yield begun
        finally:
            if response is not None:
                with contextlib.suppress(OSError, ValueError, RuntimeError):
                    response.shutdown()  # frees the thread that waits for the next piece
                thread.submit(response.close)
            else:
                opening.add_done_callback(_discard)  # nobody waits for it any more
            thread.shutdown(wait=False)

    async def _call(
        self,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"],
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        form: str = "application/json",
    ) -> Object:
        def blocking() -> Object:
            response = self._open(method, path, query or {}, body, form, _READ_S)
            content = self._whole(response, path)
            try:
                answer = json.loads(content)
            except ValueError as error:
                raise PermanentError(f"{method} {path}: what answers is no API server: {content[:100]!r}") from error
            if not isinstance(answer, dict):
                raise PermanentError(f"{method} {path}: what answers is no API server: {content[:100]!r}")
            return answer

        return await asyncio.get_running_loop().run_in_executor(self._threads, blocking)

    def _open(self, method: str, path: str, query: Mapping[str, Any], body: Any, form: str | None, quiet_s: float) -> Any:
        """The response, whose body has not been read, unless it is a refusal."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        request = self._client.param_serialize(
            method,
            path,
            query_params=[(name, value) for name, value in query.items() if value is not None],
            header_params={"Accept": "application/json", **({"Content-Type": form} if body is not None and form else {})},
            body=body,
            auth_settings=["BearerToken"],
        )
        doing = f"{method} {path}"
        try:
            answered = self._client.call_api(*request, _request_timeout=(_CONNECT_S, quiet_s))
        except (HTTPError, ApiException, OSError) as error:  # ApiException: TLS only, other refusals are answers
            raise TemporaryError(f"{doing}: the API server does not answer: {type(error).__name__}") from error
        if not 200 <= answered.status <= 299:
            raise translated(answered.status, answered.headers, self._whole(answered.response, path), doing)
        return answered.response

    def _whole(self, response: Any, path: str) -> bytes:
        from urllib3.exceptions import HTTPError

        try:
            return bytes(response.data)
        except (HTTPError, OSError) as error:
            raise TemporaryError(f"{path}: the answer broke off: {type(error).__name__}") from error

    def _next(self, pieces: Any, path: str) -> bytes | None:
        from urllib3.exceptions import HTTPError

        try:
            return next(pieces, None)
        except (HTTPError, OSError, ValueError, AttributeError) as error:  # the last two: it was shut down while we read
            raise TemporaryError(f"{path}: the stream broke off: {type(error).__name__}") from error


def _discard(opening: Future[Any]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


@contextlib.asynccontextmanager
async def connected(namespace: str, *, kubeconfig: Path | None = None, context: str | None = None) -> AsyncIterator[Cluster]:
    """By the file `kubeconfig` (and its `context`), or, without one, as a pod's service account.

    Nothing is asked of the server yet. Raises PermanentError when the file, or the account's token, is not there.
    """
    cluster = Cluster(await asyncio.to_thread(_configuration, kubeconfig, context), namespace)
    try:
        yield cluster
    finally:
        await cluster.close()


def _configuration(kubeconfig: Path | None, context: str | None) -> Any:
    """Blocking: the client takes a second to load."""
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(str(kubeconfig), context=context, client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        where = f"the kubeconfig {kubeconfig}" if kubeconfig else "the service account of this pod"
        raise PermanentError(f"{where} cannot be used: {error}") from error
    return configuration
