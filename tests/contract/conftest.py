from tests.contract.registries import embedded_backend, server_backend, twin_backend

__all__ = ["embedded_backend", "server_backend", "twin_backend"]
