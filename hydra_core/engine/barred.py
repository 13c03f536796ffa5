"""A provider that answers, and refuses whoever asks from where this machine is.

No key is wrong, and another would be refused as well: the network is what has to change. So
it counts as a provider that cannot be reached from here, found out by its own words. One
request at a time looks whether that has changed: a tunnel that is opened takes a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.health import Breaker
from hydra_core.engine.notices import Notice
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.health import Rest
    from hydra_core.engine.routing import Route
    from hydra_core.wire import Verdict

_FIRST: Final = 30.0  # seconds until it is asked again, then twice as many, up to the cap
_CAP: Final = 600.0
BARRED: Final = (
    "requests from the country or network of this machine are refused, whatever the key; send "
    "them from elsewhere (a proxy in HTTPS_PROXY, another host), or use another provider"
)


class Bar(Breaker):
    """Rests a provider that does not serve this place."""

    __slots__ = ()

    def __init__(self, over: Rest) -> None:
        super().__init__(over, first=_FIRST, cap=_CAP)


def is_bar(verdict: Verdict) -> bool:
    """True for a refusal that came as an answer: then something was reached, only not served."""
    return verdict.fault is Fault.UNREACHABLE and verdict.status is not None


def barred(deployment: Deployment) -> bool:
    """True while its provider refuses this place."""
    breaker = deployment.scopes.provider.breaker
    return isinstance(breaker, Bar) and breaker.open_until > 0.0


def all_barred(route: Route) -> bool:
    """True when all that may serve this route refuse this place."""
    return all(map(barred, route.deployments))


def barred_notice(provider: str, said: str) -> Notice:
    """A provider does not serve this place; `said` are its words."""
    words = f" ({said[:200].rstrip('.')})" if said else ""
    return Notice(
        "barred",
        provider,
        f"{provider} cannot be used from here{words}: {BARRED}. No key is blamed; one request at a "
        "time tries again.",
    )
