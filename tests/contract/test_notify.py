"""Every notifier tells a message once; what only real ones can meet is below."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contract.servers.local import Posted, Reply, serving
from tests.twins.clock import SteppedClock
from tests.twins.notify import RememberingNotifier, SentMessages
from tools.errors import PermanentError, TemporaryError
from tools.notify.apprise import AppriseNotifier
from tools.notify.outbox import OutboxNotifier
from tools.notify.port import Message, Notifier

MESSAGE = Message(title="flights: resolved", body="**Cause**: model regression.", severity="warning", link="https://oppen/i/1")


@dataclass
class Inbox:
    """A chat system: keeps what is posted to it, but for the paths that are broken."""

    url: str = ""
    """As Apprise writes it."""
    received: list[tuple[str, Any]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def take(self, posted: Posted) -> Reply:
        if posted.path in self.broken:
            return Reply(500)
        self.received.append((posted.path, json.loads(posted.body)))
        return Reply()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    box = Inbox()
    with serving(box.take) as url:
        box.url = url.replace("http://", "json://")
        yield box


@dataclass(frozen=True)
class Backend:
    notifier: Notifier
    restarted: Callable[[], Notifier]
    """The same installation in another process."""
    titles: Callable[[], list[str]]


@pytest.fixture(params=["twin", "outbox", "apprise"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, inbox: Inbox) -> Backend:
    sent, path = SentMessages(), tmp_path / "state" / "outbox.jsonl"
    if request.param == "twin":
        twin = RememberingNotifier()
        return Backend(twin, lambda: twin, lambda: [message.title for _, message, _ in twin.sent])
    if request.param == "outbox":

        def outbox() -> Notifier:
            return OutboxNotifier(path, sent, SteppedClock())

        return Backend(outbox(), outbox, lambda: [json.loads(line)["title"] for line in path.read_text().splitlines()])

    def apprise() -> Notifier:
        return AppriseNotifier({"ops": [f"{inbox.url}/ops"]}, sent)

    return Backend(apprise(), apprise, lambda: [body["title"] for _, body in inbox.received])


async def test_it_is_a_notifier_that_is_ready(backend: Backend) -> None:
    assert isinstance(backend.notifier, Notifier)
    await backend.notifier.ping()


async def test_a_message_arrives(backend: Backend) -> None:
    await backend.notifier.send("ops", MESSAGE, key="run_1/closing")
    assert backend.titles() == [MESSAGE.title]


async def test_a_key_is_said_once(backend: Backend) -> None:
    other = MESSAGE.model_copy(update={"title": "another"})
    for message, key in ((MESSAGE, "a"), (other, "a"), (other, "b")):
        await backend.notifier.send("ops", message, key=key)
    await backend.restarted().send("ops", MESSAGE, key="a")
    assert backend.titles() == [MESSAGE.title, "another"]


@pytest.mark.parametrize("name", ["twin", "apprise"])
async def test_a_channel_that_is_not_there_is_permanent(name: str) -> None:
    notifier: Notifier = RememberingNotifier() if name == "twin" else AppriseNotifier({"ops": []}, SentMessages())
    with pytest.raises(PermanentError, match="no channel"):
        await notifier.send("night-shift", MESSAGE, key="a")


async def test_a_target_gets_title_body_link_and_severity(inbox: Inbox) -> None:
    await AppriseNotifier({"ops": [f"{inbox.url}/ops"]}, SentMessages()).send("ops", MESSAGE, key="a")
    [(_, body)] = inbox.received
    assert body["title"] == MESSAGE.title
    assert "model regression" in body["message"]
    assert "https://oppen/i/1" in body["message"]
    assert body["type"] == "warning"


async def test_only_the_target_that_failed_is_tried_again(inbox: Inbox) -> None:
    sent = SentMessages()
    notifier = AppriseNotifier({"ops": [f"{inbox.url}/one", f"{inbox.url}/two"]}, sent)
    inbox.broken.add("/two")
    with pytest.raises(TemporaryError, match="target 2 of channel ops"):
        await notifier.send("ops", MESSAGE, key="a")
    assert [path for path, _ in inbox.received] == ["/one"]
    assert not await sent.already("a")
    inbox.broken.clear()
    await notifier.send("ops", MESSAGE, key="a")
    assert [path for path, _ in inbox.received] == ["/one", "/two"]
    assert await sent.already("a")


async def test_a_url_that_is_none_is_found_without_showing_it() -> None:
    notifier = AppriseNotifier({"ops": ["nosuch://token-1234@host"]}, SentMessages())
    calls: list[Callable[[], Awaitable[None]]] = [notifier.ping, lambda: notifier.send("ops", MESSAGE, key="a")]
    for call in calls:
        with pytest.raises(PermanentError, match="target 1 of channel ops") as caught:
            await call()
        assert "1234" not in str(caught.value)


async def test_an_outbox_line_says_all_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    clock = SteppedClock()
    await OutboxNotifier(path, SentMessages(), clock).send("ops", MESSAGE, key="a")
    assert json.loads(path.read_text()) == {
        "at": clock.now().isoformat(),
        "key": "a",
        "channel": "ops",
        **MESSAGE.model_dump(),
    }
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_message_that_was_written_but_not_recorded_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    await OutboxNotifier(path, SentMessages(), SteppedClock()).send("ops", MESSAGE, key="a")
    forgetful = SentMessages()
    await OutboxNotifier(path, forgetful, SteppedClock()).send("ops", MESSAGE, key="a")
    assert len(path.read_text().splitlines()) == 1
    assert await forgetful.already("a")


async def test_a_line_that_was_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    path.write_text('{"at": "2026-03-02T09:00:00+00:00", "key": "torn", "ti')
    await OutboxNotifier(path, SentMessages(), SteppedClock()).send("ops", MESSAGE, key="torn")
    assert json.loads(path.read_text().splitlines()[1])["key"] == "torn"


async def test_messages_at_once_are_lines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    notifier = OutboxNotifier(path, SentMessages(), SteppedClock())
    long = MESSAGE.model_copy(update={"body": "x" * 20_000})
    await asyncio.gather(*(notifier.send("ops", long, key=str(number % 10)) for number in range(30)))
    assert sorted(json.loads(line)["key"] for line in path.read_text().splitlines()) == sorted(map(str, range(10)))


async def test_an_outbox_that_cannot_be_written_is_temporary(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notifier = OutboxNotifier(tmp_path / "file" / "outbox.jsonl", SentMessages(), SteppedClock())
    with pytest.raises(TemporaryError, match="cannot be written"):
        await notifier.ping()
