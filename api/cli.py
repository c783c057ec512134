"""`oppen`: the one command. Results go to stdout, everything else to stderr; exit code 0, 1 (it failed) or 2 (wrong use).

Heavy modules are imported by the command that needs them, so that `--help` is quick. Commands from rooms above (`oppen demo`)
register themselves by the entry point group `oppen.commands`.
"""

import asyncio
import sys
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli_costs import costs
from api.cli_data import data
from api.cli_drift import drift
from api.cli_experiments import experiments
from api.cli_features import features
from api.cli_lifecycle import jobs, models, rollouts
from api.cli_lineage import lineage
from api.cli_optimizations import optimizations
from api.cli_remote import approvals, audit, autonomy, incidents
from api.terminal import JsonFlag, Refused, WrongUse, emit, fail

if TYPE_CHECKING:
    from api.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="MLOps run by agents.")
policies_app = typer.Typer(no_args_is_help=True, help="What is acceptable, as data.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys, straight in the database.")
for name, group in {
    "policies": policies_app,
    "keys": keys_app,
    "approvals": approvals,
    "incidents": incidents,
    "autonomy": autonomy,
    "models": models,
    "jobs": jobs,
    "rollouts": rollouts,
    "experiments": experiments,
    "optimizations": optimizations,
    "audit": audit,
    "costs": costs,
    "data": data,
    "drift": drift,
    "lineage": lineage,
    "features": features,
}.items():
    app.add_typer(group, name=name)


@app.command()
def serve(as_json: JsonFlag = False) -> None:
    """Run the service until it is told to stop. Settings come from OPPEN_*; see `oppen doctor`."""
    from api.serving import run

    def listening(url: str) -> None:
        emit({"listening": url}, as_json, f"listening on {url}")
        # Whoever waits for the line reads a pipe or a file.
        sys.stdout.flush()

    sys.exit(run(listening=listening))


@app.command()
def migrate(as_json: JsonFlag = False) -> None:
    """Bring the database's schema up to date (`serve` does so too)."""
    from api import home
    from tools.errors import PortError

    async def upgrade(settings: "Settings") -> bool:
        async with home.opened(settings) as (_, changed):
            return changed

    try:
        changed = asyncio.run(upgrade(_settings()))
    except (home.HomeInUse, home.HomeUnusable) as error:
        raise Refused(str(error)) from error
    except PortError as error:
        raise Refused(f"{error}; check OPPEN_DATABASE_URL with `oppen doctor`") from error
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
        raise typer.Exit(1)


@policies_app.command("check")
def check_policies(
    file: Annotated[Path | None, typer.Argument(help="YAML; default: what OPPEN_POLICIES names.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Read a policy file as the service would, and say what is wrong with it. Exit code 1 when something is."""
    from agents.policies import PolicyError
    from api import policy_file

    file = file or _settings().policies
    errors: list[dict[str, str]] = []
    version = None
    try:
        version = policy_file.load(file).version
    except PolicyError as error:
        errors = [{"field": field, "detail": detail} for field, detail in error.errors]
    named = str(file) if file else "the documented defaults (OPPEN_POLICIES names no file)"
    text = "\n".join(f"{each['field']}: {each['detail']}" for each in errors) or f"valid, version {version}: {named}"
    emit({"ok": not errors, "file": file, "version": version, "errors": errors}, as_json, text)
    if errors:
        raise typer.Exit(1)


class RoleName(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Whom the holder is called in approvals and in the audit log.")],
    role: Annotated[RoleName, typer.Option(help="Each may do what the ones before it may.")] = RoleName.VIEWER,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="It holds so long; default: until it is revoked.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key, and show it this once."""
    from api.keyring import create

    record = asyncio.run(create(_settings(), name, role.value, lasts=None if days is None else timedelta(days=days)))
    emit(record, as_json, f"{record['key']}\n\nIt is not stored and cannot be shown again.")


@keys_app.command("list")
def list_keys(as_json: JsonFlag = False) -> None:
    """Oldest first, revoked ones too: their names are in the audit log."""
    from api.keyring import listing

    found = asyncio.run(listing(_settings()))
    lines = [f"{key['id']}  {key['role']:9} {key['name']}{_end(key)}" for key in found]
    emit({"items": found}, as_json, "\n".join(lines) or "no keys yet: `oppen keys create`")


@keys_app.command("revoke")
def revoke_key(key_id: str, as_json: JsonFlag = False) -> None:
    """From the next request on it opens nothing."""
    from api.keyring import revoke

    asyncio.run(revoke(_settings(), key_id))
    emit({"revoked": key_id}, as_json, f"{key_id} is revoked")


def _end(key: dict[str, Any]) -> str:
    return "  revoked" if key["revoked_at"] else f"  until {key['expires_at']}" if key["expires_at"] else ""


def _settings() -> "Settings":
    from api import settings

    try:
        return settings.read()
    except settings.WrongSettings as error:
        raise WrongUse(str(error)) from error


def _extend(arguments: list[str]) -> None:
    """Commands of rooms above. A module is imported when its command is used; for `--help` its name is enough."""
    named = next((each for each in arguments if not each.startswith("-")), None)
    if named in {*(group.name for group in app.registered_groups), *("serve", "migrate", "doctor")}:
        return
    for command in entry_points(group="oppen.commands"):
        if named is None:
            app.add_typer(typer.Typer(), name=command.name, help=f"See `oppen {command.name} --help`.")
        elif named == command.name:
            app.add_typer(command.load(), name=command.name)


def main() -> None:
    _extend(sys.argv[1:])
    try:
        app()
    except Refused as error:
        fail(str(error), error.exit_code)


if __name__ == "__main__":
    main()
