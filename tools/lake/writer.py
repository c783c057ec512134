"""Whose turn it is to write to a table in ClickHouse, and what was left by those whose turn it was before.

The embedded engine lets in one process, so whoever gets in is the writer. Of a server's writers the last one to open the table
is, by its journal; another may open it when that one has closed it, or was not heard of for a while.
"""

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta

from tools.clickhouse.database import Database
from tools.errors import PortError
from tools.lake.journal import Event, Journal, State
from tools.lake.port import InUse
from tools.lake.rows import home, quarantine, rows_tables
from tools.lake.view import View

_ATTEMPTS = 1 << 32
"""Of one writer: their numbers come after the writer's, in the order in which they begin."""


class Writer:
    def __init__(self, database: Database, table: str, number: int) -> None:
        self.database = database
        self.table = table
        self.journal = Journal(database, table)
        self.view = View(database, table)
        self.loose: set[int] = set()
        """Attempts with rows that are neither committed nor taken away."""
        self._number = number
        self._attempts = 0

    def attempt(self) -> int:
        self._attempts += 1
        return self._number * _ATTEMPTS + self._attempts

    def state(self, key: str = "") -> State:
        """Raises InUse when it is another's turn."""
        return self.journal.standing(self._number, key)

    def add(self, event: Event, after: State) -> bool:
        return self.journal.add(event, after, self._number)

    def note(self, event: Event) -> None:
        while not self.add(event, self.state()):
            pass

    def tidy(self, state: State) -> None:
        """Take away what earlier writers left. None of it can be committed any more: `state` was their last turn."""
        floor = self._number * _ATTEMPTS
        for attempt, rows in rows_tables(self.database, self.table):
            if attempt < floor and attempt != state.home:
                self.database.run(f"DROP TABLE IF EXISTS {rows} SYNC")
        committed = {each.attempt for each in self.journal.committed()}
        for each in (home(self.database, self.table, state), quarantine(self.database, self.table)):
            if each is not None:
                each.delete([attempt for attempt in each.attempts(floor) if attempt not in committed])


@contextlib.contextmanager
def writing(database: Database, table: str, lease: timedelta) -> Iterator[Writer]:
    """Raises InUse when it is another's turn."""
    pulse = _Pulse(database, table, lease) if database.shared else None
    View(database, table).check()
    before = _opened(Journal(database, table), pulse)
    writer = Writer(database, table, before.position + 1)
    with pulse.beating(before.position + 1) if pulse else contextlib.nullcontext():
        if before.writer and not before.tidy:
            writer.tidy(before)
        if rows := home(database, table, before):
            writer.view.show(rows)
        try:
            yield writer
        finally:
            # Where this cannot be said, the next writer waits a little and looks for himself.
            with contextlib.suppress(PortError):
                writer.note(Event("left" if writer.loose else "closed"))


def _opened(journal: Journal, pulse: "_Pulse | None") -> State:
    """What was there before."""
    while True:
        state = journal.state()
        if state is None:
            journal.create()
            state = State()
        if pulse is not None:
            pulse.check(state)
        if journal.add(Event("opened"), state):
            return state


class _Pulse:
    """By which a writer to a server is known to be alive. The times are the server's."""

    def __init__(self, database: Database, table: str, lease: timedelta) -> None:
        self._database = database
        self._table = table
        self._name = f"_oppen_alive_{table}"
        self._lease = lease

    def check(self, state: State) -> None:
        """Raises InUse."""
        self._database.run(f"""
        CREATE TABLE IF NOT EXISTS {self._name} (writer UInt64, at DateTime64(6, 'UTC') DEFAULT now64(6))
        ENGINE = ReplacingMergeTree(at) ORDER BY writer
        """)
        if not state.writer or state.closed:
            return
        query = f"SELECT dateDiff('millisecond', max(at), now64(6)) FROM {self._name} WHERE writer = {state.writer}"
        silent = min(state.since, timedelta(milliseconds=self._database.rows(query)[0][0]))
        if silent < self._lease:
            raise InUse(
                f"{self._table}: another process is writing to this table, or was {silent.total_seconds():.0f} s ago; it is"
                f" taken for dead after {self._lease.total_seconds():.0f} s"
            )

    @contextlib.contextmanager
    def beating(self, writer: int) -> Iterator[None]:
        if not self._lease:
            yield  # nobody is waited for
            return
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self._lease.total_seconds() / 3):
                with contextlib.suppress(PortError):
                    self._database.run(f"INSERT INTO {self._name} (writer) VALUES ({writer})")

        thread = threading.Thread(target=beat, name=f"{self._name} {writer}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
