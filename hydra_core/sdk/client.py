"""An HTTP client for SDKs: keys and failover below an SDK that knows nothing of them.

    OpenAI(api_key="hydra", base_url="http://hydra/v1", http_client=hydra.http_client())

The client is the SDK's own kind, an httpx or httpx2 `Client`, over a transport that
leases a deployment for each request, sends it over Hydra's own connections and moves
to another key when one is refused. httpx is no dependency: it is imported when an
SDK that is built on it asks for such a client.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from hydra_core.errors import ConfigError
from hydra_core.sdk.errand import SdkDesk, SdkPool
from hydra_core.sdk.transports import AsyncSdkTransport, SdkTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Library", "SdkPool", "async_client", "sync_client"]

Library = Literal["auto", "httpx", "httpx2"]

# They would lead requests around Hydra, or have no effect: the connections are Hydra's.
_NOT_TAKEN: Final = frozenset(
    {"transport", "mounts", "proxy", "verify", "cert", "http1", "http2", "limits"}
)


def sync_client(pool: SdkPool, library: Library, options: Mapping[str, Any]) -> Any:
    """A `Client` of the library over this pool; `options` are its other arguments.

    Raises ConfigError for an unknown or missing library, and for options that would
    lead around Hydra.
    """
    module = _library(library)
    _check(options)
    return module.Client(transport=SdkTransport(SdkDesk(pool), module), **options)


def async_client(pool: SdkPool, library: Library, options: Mapping[str, Any]) -> Any:
    """An `AsyncClient` of the library over this pool, for any number of event loops.

    Raises ConfigError as `sync_client`.
    """
    module = _library(library)
    _check(options)
    return module.AsyncClient(transport=AsyncSdkTransport(SdkDesk(pool), module), **options)


def _library(name: Library) -> Any:
    """The module. `auto`: httpx if anything has imported it already, else httpx2.

    Of today's SDKs some take one, some the other, and openai both; whoever needs httpx
    imports it, while httpx2 is always installed here.
    """
    if name not in get_args(Library):
        known = ", ".join(get_args(Library))
        raise ConfigError(f"library = {str(name)[:40]!r} is not known; use one of: {known}")
    if name == "auto":
        name = "httpx" if "httpx" in sys.modules else "httpx2"
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"library = {name!r}, but {name} cannot be imported; `pip install {name}`, or use "
            "library = 'auto'"
        ) from None


def _check(options: Mapping[str, Any]) -> None:
    refused = sorted(_NOT_TAKEN & set(options))
    if refused:
        raise ConfigError(
            f"http_client() takes no {', '.join(refused)}: the connections, their TLS and their "
            "proxies are Hydra's own (see HTTPS_PROXY and `transport` in the configuration)"
        )
