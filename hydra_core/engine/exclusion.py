"""Whom one request must not use, whatever others may: too small for it, or already asked."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from hydra_core.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.engine.deployment import Deployment
    from hydra_core.engine.model_facts import ModelFacts
    from hydra_core.engine.quota import QuotaGroup
    from hydra_core.engine.routing import Route
    from hydra_core.engine.size import Size
    from hydra_core.messages import Reply
    from hydra_core.wire import Verdict

Avoid = Collection[object]
"""Deployments, models, groups and (in an outage) breakers that one request must not use."""

# A prompt is kept from a model's window only when it is surely longer: the estimate
# errs upwards by its deviation.
_SURELY_LONGER: Final = 1.15


def avoids(avoid: Avoid, deployment: Deployment) -> bool:
    """True when the request must not use this deployment."""
    return bool(avoid) and (
        deployment in avoid
        or deployment.model in avoid
        or deployment.group in avoid
        or deployment.breaker in avoid
    )


def avoids_all(avoid: Avoid, route: Route) -> bool:
    """True when nobody is left on this route whom the request may use."""
    return all(avoids(avoid, deployment) for deployment in route.deployments)


def too_small(route: Route, size: Size, now: float) -> set[object]:
    """The models whose context window a prompt surely exceeds, and groups short of credit."""
    small: set[object] = {
        model
        for model in route.windowed
        if model.prompt_tokens(size) > _SURELY_LONGER * (model.context_window or 0)
    }
    small.update(route.credit.short(size, now))
    return small


def kept_from(route: Route, size: Size, now: float) -> set[object]:
    """Whom a request will not be sent to; who may be asked for a shorter answer is not there."""
    kept = too_small(route, size, now)
    less = within_credit(route, size, kept, now)
    if less is not None:
        kept.discard(less[0])
    return kept


def within_credit(
    route: Route, size: Size, avoid: Avoid, now: float
) -> tuple[QuotaGroup, int] | None:
    """Who could serve a shorter answer where nobody can serve the longest, and its tokens.

    Only where the caller named no number: it is not ours to give less than was asked for.
    """
    if size.max_tokens is not None or not route.credit.said or not avoids_all(avoid, route):
        return None
    return route.credit.richest(route.deployments, now)


def no_larger(route: Route, refused: Deployment, verdict: Verdict) -> Iterator[object]:
    """Whatever cannot hold more than the deployment that refused for the request's size."""
    if verdict.fault is Fault.REQUEST_TOO_LARGE:
        yield refused.model if verdict.every_account else refused.group
        return
    yield refused.model
    window = refused.model.context_window
    for other in route.deployments:
        their = other.model.context_window
        if window is not None and their is not None and their <= window:
            yield other.model


def misshaper(route: Route, reply: Reply) -> Deployment | ModelFacts:
    """Who gave a reply that is not in form: the model, where there is another, else the key."""
    place = (reply.provider, reply.model, reply.key)
    deployments = route.deployments
    last = next(d for d in deployments if (d.provider, d.model.name, d.key) == place)
    return last if all(d.model is last.model for d in deployments) else last.model
