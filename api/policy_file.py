"""The policies of an installation: a YAML file, or the documented defaults."""

from pathlib import Path

from agents.policies import Policies, PolicyError, parse_policies


def load(path: Path | None) -> Policies:
    """Raises PolicyError, also for a file that cannot be read."""
    if path is None:
        return Policies()
    import yaml

    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise PolicyError((("(file)", f"{path} cannot be read: {error.strerror}"),)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError((("(file)", f"{path} is no YAML: {error}"),)) from error
    if raw is not None and not isinstance(raw, dict):
        raise PolicyError((("(top)", "must be a mapping of policies"),))
    return parse_policies(raw or {})
