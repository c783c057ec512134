"""Which code runs: the commit of the checkout, or the version of the package where there is none."""

import logging
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tools.lineage.port import Code

_PACKAGE = "oppen"
_LIMIT_S = 10


@cache
def code_version() -> Code:
    """Asked once: a process runs what it has imported."""
    commit = _git("rev-parse", "HEAD")
    changed = bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else False
    return Code(package=_PACKAGE, version=version(_PACKAGE), commit=commit or None, changed=changed)


def _git(*arguments: str) -> str:
    """Empty where there is no git, no checkout, or no answer."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(Path(__file__).parent), *arguments]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    if found.returncode:
        logging.getLogger(__name__).info("no commit to name: %s", found.stderr.strip())
        return ""
    return found.stdout.strip()
