"""Many models out of one: a module of its own, because a child process imports it by name."""


class Copies:
    """Registers the trained versions under every name; in a child process, because MLflow blocks."""

    def __init__(self, tracking_uri: str) -> None:
        from tools.registry.library import opened

        self._client = opened(tracking_uri).MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def make(self, names: tuple[str, ...]) -> None:
        """Each name gets the versions 1 and 2 of `flights`."""
        for name in names:
            for version in ("1", "2"):
                self._client.copy_model_version(f"models:/flights/{version}", name)
