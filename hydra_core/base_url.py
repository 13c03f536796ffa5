"""Which addresses a key may be sent to."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

# Names that resolve inside a machine or a private network only (RFC 6761, RFC 6762,
# RFC 8375, ICANN's reservation of `.internal`).
_PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
# Azure names the version of its dated API so; there is nothing secret in a date.
_API_VERSION: Final = re.compile(r"api-version=[\w.-]{1,40}")
# What people copy along with the base URL from a provider's page.
_OF_ONE_CALL: Final = "/chat/completions"
# A cloud's metadata service hands out the machine's own credentials to whoever asks.
_METADATA: Final = frozenset({"metadata", "metadata.google.internal", "instance-data"})


def problem_with(url: str, *, allow_http: bool = False) -> str | None:
    """Why keys may not be sent to this URL, and what to do, without the URL; None when fine.

    It must be http or https, without user, password, fragment or query (except for
    Azure's `api-version`); plain http only to this machine or a private network, unless
    `allow_http`.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no http(s) URL with a host; write it like https://api.example.com/v1"
    if parts.username is not None or parts.password is not None:
        return "holds a user or password; remove them and give the key under keys"
    if parts.fragment or "#" in url or ("?" in url and not _API_VERSION.fullmatch(parts.query)):
        return "holds a query or fragment; remove it (keys never belong into a URL)"
    if parts.path.rstrip("/").endswith(_OF_ONE_CALL):
        return f"is the address of one kind of call; leave {_OF_ONE_CALL} off"
    host = parts.hostname.rstrip(".")
    if _forbidden(host):
        return "names a link-local or cloud metadata address, where no model is served"
    if parts.scheme == "http" and not allow_http and not is_private(host):
        return "would send the key unencrypted; use https, or set allow_http = true"
    return None


def is_private(host: str) -> bool:
    """True for this machine and private networks: loopback, RFC 1918, one-word names."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name without a dot can only be a neighbour, such as a container's.
        return "." not in host or host.endswith(_PRIVATE_SUFFIXES)
    return address.is_loopback or (address.is_private and not address.is_unspecified)


def _split(url: str) -> SplitResult | None:
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it is what checks it
    except ValueError:
        return None
    return parts


def _forbidden(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in _METADATA
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_link_local
