"""Files in object storage into the lake, from a real server of S3's protocol."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from tests.pipelines.lakes import Lake
from tools.errors import PermanentError, TemporaryError
from tools.sources.fetched import ObjectBatch
from tools.sources.objects import filesystem
from tools.sources.opening import open_source
from tools.sources.reading import Reading, S3Reading


class Bucket:
    def __init__(self, endpoint: str) -> None:
        self.reading = Reading(1_000, s3=S3Reading(endpoint=endpoint, region="eu-central-1"))
        self.files: Any = pyarrow.fs.S3FileSystem(
            endpoint_override=endpoint.removeprefix("http://"), scheme="http", region="eu-central-1", allow_bucket_creation=True
        )
        self.files.create_dir("raw-data")

    def put(self, name: str, content: bytes) -> None:
        with self.files.open_output_stream(f"raw-data/{name}") as file:
            file.write(content)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = Bucket(endpoint)
    yield made
    made.files.delete_dir_contents("raw-data")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def ids(lake: Lake) -> list[int]:
    return sorted(row["x"] for row in lake.rows())


def test_objects_below_a_prefix_are_batches_and_what_is_there_is_not_fetched_again(bucket: Bucket, lake: Lake) -> None:
    bucket.put("in/a.csv", b"x\n1\n2\n")
    bucket.put("in/deep/b.parquet", parquet(x=[3]))
    bucket.put("in/_SUCCESS", b"")
    found = lake.ingest("s3://raw-data/in", bucket.reading)
    assert (found.ok, found.batches, found.rows_written, found.source) == (True, 2, 3, "files:s3://raw-data/in")
    bucket.put("in/c.jsonl", b'{"x": 4}\n')
    again = lake.ingest("s3://raw-data/in", bucket.reading)
    assert (again.skipped, again.rows_written) == (2, 1)
    assert ids(lake) == [1, 2, 3, 4]
    assert lake.ingest("s3://raw-data/in/a.csv", bucket.reading).skipped == 1
    assert "s3cr3t" not in lake.text()


def test_what_is_known_costs_no_fetching(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("a.csv", b"x\n1\n")
    to = tmp_path / "a.csv"
    batch = ObjectBatch(bucket.files, "raw-data/a.csv", "s3://raw-data/a.csv", None, to, 10)
    assert batch.key is not None
    assert batch.key.startswith("object:raw-data/a.csv:4:")
    assert not to.exists()
    assert batch.schema().names == ["x"]


def test_an_object_that_changed_is_another_batch(bucket: Bucket, lake: Lake) -> None:
    bucket.put("a.csv", b"x\n1\n")
    lake.ingest("s3://raw-data/*.csv", bucket.reading)
    bucket.put("a.csv", b"x\n7\n")
    assert lake.ingest("s3://raw-data/*.csv", bucket.reading).rows_written == 1
    assert ids(lake) == [1, 7]


def test_an_object_that_is_replaced_while_it_is_fetched_is_not_taken(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("a.csv", b"x\n1\n")
    batch = ObjectBatch(bucket.files, "raw-data/a.csv", "s3://raw-data/a.csv", None, tmp_path / "a.csv", 10)
    bucket.put("a.csv", b"x\n2\n")
    with pytest.raises(TemporaryError, match=r"s3://raw-data/a\.csv was changed"):
        batch.schema()


def test_a_broken_object_holds_up_no_other_and_is_named(bucket: Bucket, lake: Lake) -> None:
    bucket.put("in/a.parquet", parquet(x=list(range(1_000)))[:-100])
    bucket.put("in/b.parquet", parquet(x=[3]))
    found = lake.ingest("s3://raw-data/in", bucket.reading)
    ((broken),) = found.faulty
    assert "s3://raw-data/in/a.parquet" in broken.reason
    assert found.rows_written == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://no-such-bucket/x", "s3://no-such-bucket/x"),
        ("s3://raw-data/none.csv", "no such file"),
        ("s3://key:s3cr3t@raw-data/x", "leave them out"),
        ("s3://", "s3://BUCKET/PREFIX"),
    ],
)
def test_what_is_not_there_is_said(url: str, said: str, bucket: Bucket, lake: Lake) -> None:
    with pytest.raises(PermanentError, match=said) as told:
        lake.ingest(url, bucket.reading)
    assert "s3cr3t" not in str(told.value)


@pytest.mark.parametrize("endpoint_url", ["localhost:9000", "http://u:p4ss@h", "http://h/path"])
def test_an_endpoint_that_is_none_is_said(endpoint_url: str) -> None:
    with pytest.raises(PermanentError, match="http://HOST:PORT") as told:
        filesystem(S3Reading(endpoint=endpoint_url))
    assert "p4ss" not in str(told.value)


def test_options_of_another_source_are_refused() -> None:
    with pytest.raises(PermanentError, match=r"object storage .* does not go with a source of file://"):
        open_source("a.csv", Reading(s3=S3Reading(region="x")))
