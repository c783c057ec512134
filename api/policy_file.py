"""The policies of an installation: a YAML file, or the documented defaults."""

from pathlib import Path

from agents.policies import Policies, PolicyError, parse_policies


def load(path: Path | None) -> Policies:
    """Raises PolicyError, also for a file that cannot be read."""
    if path is None:
        return Policies()
    from tools import plain_yaml

    try:
        raw = plain_yaml.read(path.read_text())
    except OSError as error:
        raise PolicyError((("(file)", f"{path} cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise PolicyError((("(file)", f"{path} is no text in UTF-8"),)) from error
    except plain_yaml.NotPlain as error:
        raise PolicyError((("(file)", f"{path}: {error}"),)) from error
    if raw is not None and not isinstance(raw, dict):
        raise PolicyError((("(top)", "must be a mapping of policies"),))
    return parse_policies(raw or {})
