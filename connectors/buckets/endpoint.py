"""Where a store answers: https, or http on this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from strongroom.connectors.buckets.errors import EndpointRefused


def check_endpoint(endpoint: str) -> None:
    """Raise ``EndpointRefused`` unless this is a bare https URL, or http on loopback."""
    url = urlsplit(endpoint)
    bare = url.hostname and not (url.username or url.password or url.query or url.fragment)
    if not bare or url.path not in {"", "/"} or url.scheme not in {"http", "https"}:
        shown = f"{url.scheme}://{url.hostname or ''}"
        raise EndpointRefused(expected="https://host[:port]", actual=shown)
    if url.scheme == "http" and not is_loopback(endpoint):
        raise EndpointRefused(place=endpoint, expected="https", actual="http")


def is_loopback(endpoint: str) -> bool:
    """Whether the host of ``endpoint`` is this machine by its very name."""
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
