"""Bringing a database to the schema of this build, with Alembic, from the installed package and no configuration file."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tools.errors import PermanentError

HEAD = "0011"
"""The newest revision in `migrations/versions`. Known here so that a start with nothing to do imports no Alembic (0.7 s)."""

_LOCK = 0x6F7070656E + 1
"""Two replicas that start at once migrate one after the other."""


async def upgrade(engine: AsyncEngine) -> bool:
    """Whether anything was done. Raises PermanentError for a database that a newer build has written."""
    async with engine.connect() as connection:
        if await connection.run_sync(current) == HEAD:
            return False
    async with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if await connection.run_sync(current) == HEAD:
            return False
        await connection.run_sync(_run)
    return True


async def up_to_date(engine: AsyncEngine) -> bool:
    """Whether the database is at the revision of this build."""
    async with engine.connect() as connection:
        return await connection.run_sync(current) == HEAD


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    # ConfigParser reads % as the start of a reference.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise PermanentError(f"the database is at a revision that this build does not know: {error}") from error
