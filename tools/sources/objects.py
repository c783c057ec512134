"""Object storage by `s3://BUCKET/PREFIX`. Credentials come from where Amazon's programs look for them (the environment, a
profile, the machine's role), never from the URL."""

from typing import Any
from urllib.parse import urlsplit

from tools.errors import PermanentError
from tools.sources.reading import S3Reading

_CONNECT_S = 10.0
_REQUEST_S = 60.0
_TRIES = 5


def filesystem(reading: S3Reading) -> Any:
    """Raises PermanentError for an endpoint that is none."""
    import pyarrow.fs

    how: dict[str, Any] = {}
    if reading.endpoint:
        parts = urlsplit(reading.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.path.strip("/"):
            raise PermanentError("the endpoint of object storage is http://HOST:PORT or https://HOST, without an account")
        how |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    if reading.region:
        how["region"] = reading.region
    return pyarrow.fs.S3FileSystem(
        anonymous=reading.anonymous,
        connect_timeout=_CONNECT_S,
        request_timeout=_REQUEST_S,
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        **how,
    )


def place(url: str) -> str:
    """Bucket and path, as the filesystem writes them. `?` and `#` are signs like others there."""
    path = url.partition("://")[2].rstrip("/")
    bucket = path.partition("/")[0]
    if "@" in bucket or ":" in bucket:
        raise PermanentError("credentials in the URL of object storage would be in names and messages: leave them out")
    if not bucket or any(sign in bucket for sign in "*?["):
        raise PermanentError("object storage is s3://BUCKET/PREFIX, a glob only after the bucket")
    return path
