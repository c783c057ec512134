"""`oppen`: the one command. Results go to stdout, everything else to stderr; exit code 0, 1 (it failed) or 2 (wrong use).

Heavy modules are imported by the command that needs them, so that `--help` is quick. Commands from rooms above (`oppen demo`)
register themselves by the entry point group `oppen.commands`.
"""

import asyncio
import sys
from collections.abc import Coroutine
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli_remote import approvals, audit, autonomy, incidents
from api.terminal import JsonFlag, Refused, emit, fail

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="MLOps run by agents.")
policies_app = typer.Typer(no_args_is_help=True, help="What is acceptable, as data.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys, straight in the database.")
for name, group in {
    "policies": policies_app,
    "keys": keys_app,
    "approvals": approvals,
    "incidents": incidents,
    "autonomy": autonomy,
    "audit": audit,
}.items():
    app.add_typer(group, name=name)


@app.command()
def serve() -> None:
    """Run the service until it is told to stop. Settings come from OPPEN_*; see `oppen doctor`."""
    from api.serving import run

    sys.exit(run())


@app.command()
def migrate(as_json: JsonFlag = False) -> None:
    """Bring the database's schema up to date (`serve` does so too)."""
    from api.store.database import Database

    async def upgrade() -> bool:
        database = Database(_settings().database)
        try:
            return await database.migrate()
        finally:
            await database.close()

    changed = asyncio.run(upgrade())
    emit({"migrated": changed}, as_json, "the schema was brought up to date" if changed else "the schema is up to date")


@app.command()
def doctor(as_json: JsonFlag = False) -> None:
    """Check every setting and dependency, and say what to do. Exit code 1 when something that is needed fails."""
    from api.doctor import examine

    findings = asyncio.run(examine())
    healthy = all(finding.ok or not finding.needed for finding in findings)
    lines = [f"{'ok  ' if each.ok else 'FAIL' if each.needed else 'warn'}  {each.name}: {each.detail}" for each in findings]
    emit({"ok": healthy, "findings": [vars(finding) for finding in findings]}, as_json, "\n".join(lines))
    if not healthy:
        sys.exit(1)


@policies_app.command("check")
def check_policies(file: Annotated[Path, typer.Argument(help="YAML.")], as_json: JsonFlag = False) -> None:
    """Read a policy file as the service would, and say what is wrong with it."""
    import yaml

    from agents.policies import PolicyError, parse_policies

    errors: list[dict[str, str]] = []
    version = None
    try:
        raw = yaml.safe_load(file.read_text()) or {}
        if not isinstance(raw, dict):
            raise PolicyError((("(top)", "must be a mapping"),))
        version = parse_policies(raw).version
    except PolicyError as error:
        errors = [{"field": field, "detail": detail} for field, detail in error.errors]
    except (OSError, yaml.YAMLError) as error:
        errors = [{"field": "(file)", "detail": str(error)}]
    text = "\n".join(f"{each['field']}: {each['detail']}" for each in errors) or f"valid, version {version}"
    emit({"ok": not errors, "version": version, "errors": errors}, as_json, text)
    if errors:
        sys.exit(1)


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Whom the holder is called in approvals and in the audit log.")],
    role: Annotated[str, typer.Option(help="viewer, operator, approver or admin.")] = "viewer",
    as_json: JsonFlag = False,
) -> None:
    """Make a key, and show it this once."""
    from api.keyring import create

    record = _run(create(_settings(), name, role))
    emit(record, as_json, f"{record['key']}\n\nIt is not stored and cannot be shown again.")


@keys_app.command("list")
def list_keys(as_json: JsonFlag = False) -> None:
    from api.keyring import listing

    found = _run(listing(_settings()))
    lines = [f"{key['id']}  {key['role']:9} {key['name']}{'  revoked' if key['revoked_at'] else ''}" for key in found]
    emit({"items": found}, as_json, "\n".join(lines) or "no keys yet: `oppen keys create`")


@keys_app.command("revoke")
def revoke_key(key_id: str, as_json: JsonFlag = False) -> None:
    from api.keyring import revoke

    _run(revoke(_settings(), key_id))
    emit({"revoked": key_id}, as_json, f"{key_id} is revoked")


def _settings() -> Any:
    from pydantic import ValidationError

    from api.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        faults = [f"OPPEN_{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors()]
        raise Refused("\n".join(faults)) from error


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def main() -> None:
    for command in entry_points(group="oppen.commands"):
        # The group's module is imported when its command is used: its name is enough for `--help`.
        if len(sys.argv) > 1 and sys.argv[1] == command.name:
            app.add_typer(command.load(), name=command.name)
        elif len(sys.argv) < 2 or sys.argv[1].startswith("-"):
            app.add_typer(
                typer.Typer(), name=command.name, help=f"{command.name.capitalize()}; see `oppen {command.name} --help`."
            )
    try:
        app()
    except Refused as error:
        fail(str(error))


if __name__ == "__main__":
    main()
