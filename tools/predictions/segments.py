"""Segment files, read in batches. A line that cannot be a row is set aside with its reason and never stops the others."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tools.errors import PermanentError
from tools.predictions.records import LabelRecord, PredictionRecord, Record, ShadowRecord, ValueRecord

_BATCH_BYTES = 4 * 1024 * 1024
"""About a tenth of a second of loading, during which queries wait; some ten thousand records."""

_EARLIEST, _LATEST = 946_684_800_000_000, 4_102_444_800_000_000
"""2000 to 2100, in microseconds: what lies outside is a broken clock, and would become a partition of its own."""
_LONGEST_LATENCY = 2**53

_decode = msgspec.json.Decoder(Record).decode


@dataclass(slots=True)
class Batch:
    """The whole lines from `start` to `end`, in bytes; `last` when there is nothing after them."""

    start: int
    end: int
    last: bool
    predictions: list[PredictionRecord] = field(default_factory=list)
    labels: list[LabelRecord] = field(default_factory=list)
    shadows: list[ShadowRecord] = field(default_factory=list)
    values: list[ValueRecord] = field(default_factory=list)
    rejected: list[tuple[str, bytes]] = field(default_factory=list)
    """Reason and line."""

    @property
    def records(self) -> int:
        return len(self.predictions) + len(self.labels) + len(self.shadows) + len(self.values)


def read(segment: Path, start: int) -> Batch:
    """The batch that begins at `start`: the same one whenever it is asked for. Raises PermanentError when it cannot be read."""
    try:
        with segment.open("rb") as file:
            file.seek(start)
            content = file.read(_BATCH_BYTES)
            while content and not content.endswith(b"\n") and (more := file.readline(_BATCH_BYTES)):
                content += more
            batch = Batch(start, start + len(content), last=not file.peek(1))
    except OSError as error:
        raise PermanentError(f"{segment.name} cannot be read: {error.strerror}") from error
    for line in content.split(b"\n"):
        if line and not line.isspace():
            _sort(line, batch)
    return batch


def set_aside(segment: Path, batch: Batch) -> None:
    """Write what was rejected beside the segment: the reason behind a `#`, then the line as it was."""
    aside = segment.with_suffix(".rejected")
    if batch.start == 0:
        aside.unlink(missing_ok=True)  # of an earlier try
    if batch.rejected:
        with aside.open("ab") as file:
            file.writelines(b"# " + reason.encode() + b"\n" + line + b"\n" for reason, line in batch.rejected)


def _sort(line: bytes, batch: Batch) -> None:
    try:
        record = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        batch.rejected.append((str(error), line))
        return
    if not _EARLIEST <= record.at < _LATEST:
        batch.rejected.append((f"at: {record.at} is not between 2000 and 2100", line))
    elif isinstance(record, LabelRecord):
        batch.labels.append(record)
    elif isinstance(record, ValueRecord):
        batch.values.append(record)
    elif not 0 <= record.latency_us <= _LONGEST_LATENCY:
        batch.rejected.append((f"latency_us: {record.latency_us} is no latency", line))
    elif isinstance(record, ShadowRecord):
        batch.shadows.append(record)
    else:
        batch.predictions.append(record)
