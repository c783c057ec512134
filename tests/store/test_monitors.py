"""Where monitors stand is kept when they become those of subjects."""

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from api.store import schema


def _at(url: str, move: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        move(config)
    engine.dispose()


def _subjects(url: str, column: str) -> list[str]:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        found = list(connection.scalars(sa.text(f"SELECT {column} FROM monitors ORDER BY {column}")))
    engine.dispose()
    return found


def test_monitors_of_models_stay_theirs_there_and_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'oppen.db'}"
    _at(url, lambda config: command.upgrade(config, "0006"))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for model in ("loans", "data:odd"):
            connection.execute(
                sa.text(
                    "INSERT INTO monitors (model, monitor, tick, streak, summary) "
                    "VALUES (:model, 'drift', '2026-03-02 00:00:00.000000', 2, 'so')"
                ),
                {"model": model},
            )
    engine.dispose()
    _at(url, lambda config: command.upgrade(config, "0007"))
    assert _subjects(url, "subject") == ["model:data:odd", "model:loans"]
    _at(url, lambda config: command.downgrade(config, "0006"))
    assert _subjects(url, "model") == ["data:odd", "loans"]
