"""The composition root: settings and a registry become a running gateway, and a running gateway becomes a clean stop."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from prometheus_client.metrics_core import Metric
from pydantic import SecretStr

from gateway.access import Access
from gateway.app import App
from gateway.batching import BatchLimits
from gateway.completions.calls import Completions, Prices
from gateway.completions.metrics import CompletionMetrics
from gateway.completions.servers import CompletionLimits, open_servers
from gateway.completions.web import CompletionsWeb
from gateway.fleet import Fleet
from gateway.inference import Inference
from gateway.metrics import Metrics, counter, gauge
from gateway.mirroring import Mirrors
from gateway.models import ServingLimits
from gateway.routes import RouteFiles
from gateway.runtimes.inprocess import InProcess
from gateway.runtimes.port import Runtime
from gateway.segments import LogLimits, SegmentLog
from gateway.settings import Settings
from gateway.versions import Loader
from tools.clock import clock_from
from tools.registry.port import RegistryReader


class HomeInUse(Exception):
    """Another gateway writes to this home."""


@asynccontextmanager
async def assembled(settings: Settings, registry: RegistryReader) -> AsyncIterator[App]:
    """The app, its models loading in the background. On the way out in-flight requests end and segments are completed.

    Raises HomeInUse.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.enter_context(_locked(settings.home))
        asking = _asking(settings)
        servers = await stack.enter_async_context(open_servers(settings.completion_servers, asking))
        elsewhere = await stack.enter_async_context(_elsewhere(settings))
        metrics = Metrics()
        clock = clock_from(settings.clock)
        limits = LogLimits(
            records=settings.log_records,
            segment_bytes=settings.segment_bytes,
            segment_age_s=settings.segment_age_s,
            flush_s=settings.log_flush_s,
            backlog_bytes=settings.backlog_bytes,
        )
        predictions = SegmentLog(settings.home / "segments", "predictions", limits, clock)
        labels = SegmentLog(settings.home / "segments", "labels", limits, clock)
        shadows = SegmentLog(settings.home / "segments", "shadows", limits, clock)
        mirrors = Mirrors(shadows, metrics, settings.mirror_rows, settings.mirror_bytes, settings.batch_rows)
        loader = Loader(
            registry=registry,
            cache=settings.home / "models",
            limits=BatchLimits(settings.batch_rows, settings.queue_rows),
            metrics=metrics,
            servers=servers,
            completions=CompletionMetrics(metrics.registry),
            here=InProcess(frozenset(settings.allow_pickle), settings.batch_rows),
            elsewhere=elsewhere,
        )
        serving = ServingLimits(
            settings.max_workers,
            settings.grace_s,
            # Two full batches fit into the queue, so that one that waits turns nobody away.
            batch_rows=max(settings.batch_rows, settings.queue_rows // 2),
            batch_wait_ms=settings.max_batch_wait_ms,
        )
        fleet = Fleet(RouteFiles(settings.home / "routes"), loader, serving, mirrors)
        metrics.read(fleet.metrics)
        metrics.read(lambda: _log_metrics((("predictions", predictions), ("labels", labels), ("shadows", shadows))))
        for log in (predictions, labels, shadows):
            await asyncio.to_thread(log.start)
        try:
            fleet.start(settings.models)
            inference = Inference(fleet, predictions, labels, clock, metrics, max_rows=settings.max_rows)
            access = Access(_secret(settings.token), _secret(settings.inference_token))
            completions = Completions(fleet, predictions, clock, metrics, Prices(settings.token_prices), asking)
            web = CompletionsWeb(fleet, completions, access, metrics.error, max_body=settings.max_body_bytes)
            yield App(fleet, inference, web, metrics, access, max_body=settings.max_body_bytes)
        finally:
            await fleet.close()
            for log in (predictions, labels, shadows):
                await asyncio.to_thread(log.close)


def _asking(settings: Settings) -> CompletionLimits:
    return CompletionLimits(
        connections=settings.completion_connections,
        total_s=settings.completion_timeout_s,
        idle_s=settings.completion_idle_s,
        send_s=settings.completion_send_s,
        answer_bytes=settings.completion_answer_bytes,
    )


@asynccontextmanager
async def _elsewhere(settings: Settings) -> AsyncIterator[Mapping[str, Runtime]]:
    """The runtimes of models that are not computed here."""
    url, management, store = settings.torchserve_url, settings.torchserve_management_url, settings.torchserve_store
    if not settings.runtimes or url is None or management is None or store is None:
        yield {}
        return
    from gateway.runtimes.torchserve import Addresses, open_runtime

    addresses = Addresses(url, management, store, settings.torchserve_key_file, settings.torchserve_timeout_s)
    async with open_runtime(addresses, batch_rows=settings.batch_rows, max_workers=settings.max_workers) as runtime:
        yield dict.fromkeys(settings.runtimes, runtime)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """The kernel lets go of the lock when the process dies, however it dies."""
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeInUse(f"another gateway is at work in {home}") from error
        yield


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


def _log_metrics(logs: tuple[tuple[str, SegmentLog], ...]) -> Iterator[Metric]:
    backlogs = [(kind, log.backlog()) for kind, log in logs]
    label = ("kind",)
    yield gauge("log_pending", "Records in memory or reserved", label, [((k,), log.pending) for k, log in logs])
    yield gauge("log_capacity", "Records that memory may hold", label, [((k,), log.capacity) for k, log in logs])
    yield gauge("log_segments", "Complete segments not loaded yet", label, [((k,), b.segments) for k, b in backlogs])
    yield gauge("log_bytes", "Bytes in them", label, [((k,), b.bytes) for k, b in backlogs])
    yield gauge(
        "log_oldest_timestamp_seconds",
        "When the oldest of them was completed",
        label,
        [((k,), b.oldest_at) for k, b in backlogs if b.oldest_at is not None],
    )
    yield counter("log_completed_segments", "Segments completed", label, [((k,), log.completed) for k, log in logs])
    yield counter("log_write_errors", "Failed writes, tried again", label, [((k,), log.write_errors) for k, log in logs])
    yield counter("log_cut_lines", "Lines that a crash had cut off", label, [((k,), log.cut_lines) for k, log in logs])
