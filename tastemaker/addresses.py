"""What an address on the network means for safety."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Say whether `host` is this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
