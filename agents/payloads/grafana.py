"""Grafana's webhook contact point: Alertmanager's shape, version "1", with addresses of panels and a title of its own."""

from agents.payloads import alertmanager
from agents.payloads.deliveries import Delivery


def parse(body: object, source: str = "grafana") -> Delivery:
    """Raises PayloadError."""
    return alertmanager.parse(body, source)
