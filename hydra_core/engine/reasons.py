"""Why something rests, in plain words: for `explain()`, reports, errors and notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hydra_core.engine.barred import BARRED, barred
from hydra_core.engine.notices import Notice, listed
from hydra_core.engine.windows import NEVER
from hydra_core.messages import Fault

if TYPE_CHECKING:
    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.routing import Route

OFFLINE: Final = (
    "no provider can be reached: this machine seems to be offline (if it is not, check base_url "
    "and the server behind it)"
)
REFUSED: Final = (
    "every key of this route was refused as invalid (HTTP 401 or 403). Check their values, and "
    "base_url if it is set, then start again"
)
_DEAD: Final = "auth: refused as invalid (no timer revives it, only a corrected or new key)"
_TOLD: Final = 200  # characters of what a provider said
_ONE_BY_ONE: Final = "one request at a time tries again"


def reason(deployment: Deployment, now: float) -> str | None:
    """Why this deployment must be left alone at `now`; None: it need not."""
    if deployment.scopes.key.dead:
        return _DEAD
    for rest in deployment.rests:
        if rest.fault is not None and rest.hard_until > now:
            return f"{rest.fault.value}: the provider's word on {rest.name}"
    breaker = deployment.breaker
    if breaker.open_until > now or (breaker.open_until and breaker.probing):
        return _outage(deployment)
    for rest in deployment.rests:
        if rest.fault is not None and rest.soft_until > now:
            return f"{rest.fault.value}: our inference on {rest.name}"
    return None


def resting_fault(deployment: Deployment, now: float) -> Fault | None:
    """The fault for which it is left alone at `now`, if one is to blame."""
    for rest in deployment.rests:
        if rest.fault is not None and max(rest.hard_until, rest.soft_until) > now:
            return rest.fault
    breaker = deployment.breaker
    return breaker.fault if breaker.open_until > now else None


def _outage(deployment: Deployment) -> str:
    breaker, provider = deployment.breaker, deployment.provider
    what = "failures" if breaker.fault is None else breaker.fault.value
    if breaker.over is deployment.model.rest:
        return f"breaker open for {breaker.over.name}: its calls fail ({what}); {_ONE_BY_ONE}"
    if breaker.over is not deployment.scopes.provider:
        return f"{OFFLINE}; {_ONE_BY_ONE}"
    if barred(deployment):
        return f"{provider}: {BARRED}; {_ONE_BY_ONE}"
    if breaker.fault is Fault.UNREACHABLE:
        return f"{provider} cannot be reached while another provider can be; {_ONE_BY_ONE}"
    if breaker.fault is Fault.AUTH:
        return (
            f"{provider} refuses several keys at once: its sign-in or base_url is suspect, not the "
            f"keys; {_ONE_BY_ONE}"
        )
    return f"{provider} is out: several of its models fail ({what}); {_ONE_BY_ONE}"


def offline(route: Route) -> bool:
    """True when what may serve this route waits for this machine to be online again."""
    for deployment in route.deployments:
        if deployment.hard_until != NEVER:
            breaker = deployment.breaker
            mine = (deployment.model.rest, deployment.scopes.provider)
            return breaker.open_until > 0.0 and breaker.over not in mine
    return False


def all_refused(route: Route) -> bool:
    """True when no key of this route is left alive."""
    return all(deployment.scopes.key.dead for deployment in route.deployments)


def offline_notice(providers: list[str]) -> Notice:
    """No provider can be reached; `providers` are all there are."""
    text = OFFLINE
    if len(providers) == 1:
        text = (
            f"{providers[0]} cannot be reached, and there is no other to compare it with: this "
            "machine is offline, or it is down, or its base_url is wrong"
        )
    return Notice(
        "offline",
        "this machine",
        f"{text[0].upper()}{text[1:]}. No key is blamed for it; {_ONE_BY_ONE}, and all are used "
        "again as soon as one answers.",
    )


def online_notice() -> Notice:
    """A provider answered again."""
    text = "A provider can be reached again; all keys are in use."
    return Notice("offline", "this machine", text)


def sign_in_notice(provider: str) -> Notice:
    """Several keys are refused together, though one had worked."""
    return Notice(
        "refused_key",
        provider,
        f"{provider} refuses several keys at once as invalid, though one at least had worked: its "
        f"sign-in or base_url is suspect, so no key is given up, and {_ONE_BY_ONE}. If you did "
        "revoke them, replace them and start again.",
        contrary=True,
    )


def signed_in_notice(provider: str) -> Notice:
    """It accepts them again."""
    return Notice("refused_key", provider, f"{provider} accepts its keys again.")


def refused_notice(provider: str, dead: tuple[list[str], int]) -> Notice:
    """Keys were refused for good: their names, and how many keys there are."""
    names, count = dead
    what = f"{provider} refused as invalid: {listed(names)}"
    if len(names) == count > 1:
        what = f"All keys of {provider} were refused as invalid ({listed(names)})"
    advice = "They are not used any more. Check their values"
    if len(names) == 1:
        advice = "It is not used any more. Check its value"
    return Notice(
        "refused_key",
        provider,
        f"{what}. {advice}, and base_url if it is set, then start again.",
    )


def spent_notice(deployment: Deployment, said: str) -> Notice:
    """An account has no money left, or may not spend more of it."""
    return Notice(
        "no_money",
        f"{deployment.provider}/{deployment.account}",
        f"{deployment.provider} says that the account of {deployment.key} has no money or credit "
        f"left, or may spend no more{_said(said)}. It rests and is asked again later. Top it up, "
        "raise its limit, or take its keys out of the configuration.",
    )


def gone_notice(deployment: Deployment, said: str) -> Notice:
    """A model is not there, or not for this account."""
    return Notice(
        "no_model",
        f"{deployment.provider}/{deployment.model.name}",
        f"{deployment.provider} does not serve {deployment.model.name} to {deployment.key}"
        f"{_said(said)}. It rests and is asked for again later. Check the model's name, and "
        "whether the account may use it.",
    )


def shortened(said: str) -> str:
    """What a provider said, short enough for a text to readers, which goes on after it."""
    return said[:_TOLD].rstrip(".")


def _said(text: str) -> str:
    return f" ({shortened(text)})" if text else ""
