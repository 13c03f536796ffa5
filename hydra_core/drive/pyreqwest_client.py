"""How a client of pyreqwest is built: nothing is followed, unpacked or kept for long."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pyreqwest.client import ClientBuilder
from pyreqwest.proxy import ProxyBuilder

from hydra_core.drive import transport as common
from hydra_core.errors import ConfigError

if TYPE_CHECKING:
    from pyreqwest.client import Client

    from hydra_core.drive.proxies import Proxies

# Idle connections kept to each host. Open ones are not limited: leases already are.
_MAX_IDLE = 256


def make_client(
    proxies: Proxies, connect_timeout: float, silence: float | None = None
) -> Client:
    """A client; `silence` is the most seconds that a server may send nothing, if there is one.

    Raises ConfigError for a proxy that cannot be used, and in a forked process.
    """
    builder = (
        ClientBuilder()
        .gzip(enable=False)
        .brotli(enable=False)
        .zstd(enable=False)
        .deflate(enable=False)
        .follow_redirects(enable=False)
        .referer(enable=False)
        .http1_lower_case_headers()
        .user_agent(common.USER_AGENT)
        .default_headers([("accept-encoding", "identity")])
        .connect_timeout(timedelta(seconds=connect_timeout))
        .pool_idle_timeout(timedelta(seconds=common.KEEP_ALIVE))
        .pool_max_idle_per_host(_MAX_IDLE)
        .no_proxy()
    )
    if silence is not None:
        builder = builder.read_timeout(timedelta(seconds=silence))
    excluded = ",".join(proxies.bypass)
    try:
        if proxies.http is not None:
            builder = builder.proxy(ProxyBuilder.http(proxies.http).no_proxy(excluded))
        if proxies.https is not None:
            builder = builder.proxy(ProxyBuilder.https(proxies.https).no_proxy(excluded))
        return builder.build()
    except ValueError:
        raise ConfigError("the proxy in the environment cannot be used; correct it") from None
    except RuntimeError:
        raise ConfigError(
            "transport = 'pyreqwest' cannot run in a process forked after it ran; "
            "start processes by 'spawn', or use transport = 'auto'"
        ) from None
