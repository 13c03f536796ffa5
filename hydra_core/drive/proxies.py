"""Which proxy leads to a host: the environment's standard variables, and never for loopback.

`HTTPS_PROXY` and `HTTP_PROXY` (lower case wins) are honoured because behind many
company networks nothing else works, and an https key only passes through such a
proxy inside the TLS tunnel. `ALL_PROXY` is not. `NO_PROXY` takes host names (with
all below them), addresses, networks and `*`. As in other tools, an upper-case
`HTTP_PROXY` is ignored where `REQUEST_METHOD` is set: there, a caller of a CGI
script could have set it through a header named `Proxy`.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hydra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = ("localhost", "127.0.0.0/8", "::1")


@dataclass(frozen=True, slots=True, repr=False)
class Proxies:
    """The proxies of one process. Has no repr: a proxy's URL may hold a password."""

    http: str | None = None
    https: str | None = None
    bypass: tuple[str, ...] = LOOPBACK

    def lead_to(self, scheme: str, host: str) -> str | None:
        """The URL of the proxy for this host, or None when it is reached directly."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or any(_covers(entry, host.lower()) for entry in self.bypass):
            return None
        return proxy


def from_environment(environ: Mapping[str, str] | None = None) -> Proxies:
    """The proxies that the environment names.

    Raises ConfigError, naming the variable and not its value, unless each is an
    `http://` or `https://` URL with a host.
    """
    source = os.environ if environ is None else environ
    https = source.get("https_proxy") or source.get("HTTPS_PROXY")
    http = source.get("http_proxy")
    if not http and "REQUEST_METHOD" not in source:
        http = source.get("HTTP_PROXY")
    excluded = source.get("no_proxy") or source.get("NO_PROXY") or ""
    entries = (
        entry.strip().lower().removeprefix("*.").lstrip(".") for entry in excluded.split(",")
    )
    return Proxies(
        http=_usable("HTTP_PROXY", http),
        https=_usable("HTTPS_PROXY", https),
        bypass=(*LOOPBACK, *filter(None, entries)),
    )


def _usable(variable: str, url: str | None) -> str | None:
    if not url:
        return None
    address = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{variable} in the environment is not an http:// or https:// URL; correct or unset it"
        )
    return address


def _covers(entry: str, host: str) -> bool:
    if entry == "*" or host == entry or host.endswith(f".{entry}"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
