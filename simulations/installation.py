"""A whole installation on this machine, for a demo or a drill: its folder, its settings, its programs, and people with keys."""

import contextlib
import json
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from api.keyring import create
from api.settings import Settings
from simulations.processes import Failed, Program, Programs, free_port
from tools.clock import clock_from
from tools.registry.mlflow import open_registry
from tools.registry.port import Registry
from tools.serving.gateway import open_serving


class Person:
    """Somebody with an API key. Raises Failed with the service's own words when it says no."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key
        self._client = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=15)

    async def get(self, path: str) -> dict[str, Any]:
        return _body(await self._client.get(path))

    async def post(self, path: str, body: Mapping[str, Any], *, key: str = "") -> dict[str, Any]:
        """`key`: sent again with it, it is answered again and not done again."""
        headers = {"Idempotency-Key": key} if key else {}
        return _body(await self._client.post(path, json=body, headers=headers))

    def curl(self, path: str, body: Mapping[str, Any]) -> str:
        """The same as a command to copy."""
        words = [
            "curl",
            "-sS",
            "-X",
            "POST",
            f"{self._url}{path}",
            "-H",
            f"Authorization: Bearer {self._key}",
            "-H",
            "Content-Type: application/json",
            "-d",
            json.dumps(body),
        ]
        return shlex.join(words)

    async def aclose(self) -> None:
        await self._client.aclose()


class Installation:
    """Everything lies under `home`, but for what `databases` puts elsewhere (settings by name)."""

    def __init__(
        self, home: Path, *, clock: str = "system", policies: Path | None = None, databases: Mapping[str, str] | None = None
    ) -> None:
        self.home = home
        self.service_url = f"http://127.0.0.1:{free_port()}"
        self.gateway_url = f"http://127.0.0.1:{free_port()}"
        self.tracking_uri = f"sqlite:///{home.absolute() / 'mlflow.db'}"
        self._intake_token = secrets.token_urlsafe(24)
        self.environment = {
            "OPPEN_HOME": str(home.absolute()),
            "OPPEN_PORT": self.service_url.rpartition(":")[2],
            "OPPEN_GATEWAY_URL": self.gateway_url,
            "OPPEN_MLFLOW_URI": self.tracking_uri,
            "OPPEN_CLOCK": clock,
            "OPPEN_SENDERS": json.dumps({"alertmanager": {"bearer": self._intake_token}}),
            **({"OPPEN_POLICIES": str(policies)} if policies else {}),
            **(databases or {}),
        }
        self.gateway_environment = {
            "OPPEN_GATEWAY_HOME": str(home.absolute() / "gateway"),
            "OPPEN_GATEWAY_PORT": self.gateway_url.rpartition(":")[2],
            "OPPEN_GATEWAY_TRACKING_URI": self.tracking_uri,
            "OPPEN_GATEWAY_SEGMENT_AGE_S": "0.2",
            "OPPEN_CLOCK": clock,
        }

    def start_service(self, programs: Programs) -> Program:
        return programs.start("service", ["api.cli", "serve"], self.environment, self.home / "service.log")

    async def person(self, name: str, role: str, resources: contextlib.AsyncExitStack) -> Person:
        """Somebody new, with a key of that role."""
        key = (await create(self._settings(), name, role))["key"]
        person = Person(self.service_url, key)
        resources.push_async_callback(person.aclose)
        return person

    async def registry(self, resources: contextlib.AsyncExitStack) -> Registry:
        """As a release pipeline uses it: moves of aliases are in the platform's history."""
        database, clock = self._settings().database, clock_from(self.environment["OPPEN_CLOCK"])
        return await resources.enter_async_context(open_registry(self.tracking_uri, database, clock))

    async def shift_traffic(self, model: str, weights: dict[str, int], key: str) -> None:
        """As a release pipeline does, straight at the gateway."""
        async with open_serving(self.gateway_url, None) as serving:
            route = await serving.route(model)
            await serving.set_weights(model, weights, expected_generation=route.generation, key=key)

    async def deliver(self, body: Mapping[str, Any]) -> None:
        """Post to the intake as Alertmanager does, with its token."""
        async with httpx.AsyncClient(base_url=self.service_url, timeout=15) as client:
            headers = {"Authorization": f"Bearer {self._intake_token}", "User-Agent": "Alertmanager/0.25.0"}
            _body(await client.post("/v1/alerts/alertmanager", json=body, headers=headers))

    def _settings(self) -> Settings:
        home, databases = self.home.absolute(), self.environment
        return Settings(home=home, database_url=databases.get("OPPEN_DATABASE_URL", ""), clock=databases["OPPEN_CLOCK"])


def _body(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise Failed(
            f"{response.request.method} {response.request.url.path} was answered {response.status_code}: {response.text}"
        )
    body: dict[str, Any] = response.json()
    return body
