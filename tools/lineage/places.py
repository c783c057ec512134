"""What a source of data is called in lineage, after OpenLineage's naming of datasets: where it is, without who asks."""

from pathlib import Path
from urllib.parse import urlsplit

from tools.lineage.port import Dataset
from tools.lineage.secrets import stripped

_DATABASES = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql", "mssql": "mssql", "oracle": "oracle"}


def source(url: str, label: str = "") -> Dataset:
    """`url`: of files, a bucket, an API or a database; `label`: what is read in it, where the URL does not say (a table).

    Files are `file` and their absolute path; what is in a bucket is `s3://bucket` and its path; an API is `https://host` and
    its path, without the query; a table is `postgres://host:port` and `database.table`, of SQLite `file` and the absolute path
    of the database and `.table`.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme == "file":
        return Dataset(namespace="file", name=str(Path(rest if found else url).expanduser().absolute()))
    parts = urlsplit(stripped(url))
    kind = scheme.partition("+")[0]
    path = parts.path.strip("/")
    if kind == "sqlite":
        file = stripped(rest).removeprefix("/").partition("?")[0]
        file = str(Path(file).absolute()) if file and file != ":memory:" else file
        return Dataset(namespace="file", name=".".join(part for part in (file, label) if part))
    namespace = f"{_DATABASES.get(kind, kind)}://{parts.netloc}"
    if kind in _DATABASES:
        path = ".".join(part for part in (path, label) if part)
    return Dataset(namespace=namespace.removesuffix("://") or scheme, name=path or label or "/")
