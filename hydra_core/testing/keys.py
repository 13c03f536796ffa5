"""The keys of a fake provider, their accounts and their limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LimitName = Literal["rpm", "tpm", "rpd", "tpd", "concurrency"]
WindowKind = Literal["sliding", "bucket", "fixed"]

LIMIT_NAMES: Final[tuple[LimitName, ...]] = ("rpm", "tpm", "rpd", "tpd", "concurrency")


@dataclass(frozen=True, slots=True)
class FakeLimits:
    """What one account may do with one model; None means without limit.

    `rpm`, `rpd` are requests and `tpm`, `tpd` tokens (prompt and completion) a
    minute and a day; `concurrency` is calls at once. `window` says how the
    provider counts: `sliding` looks back over exactly one window, `bucket` starts
    full and refills continuously, `fixed` starts anew at every whole window
    since the server's start. Raises ValueError for a limit below 1.
    """

    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    concurrency: int | None = None
    window: WindowKind = "sliding"

    def __post_init__(self) -> None:
        for name, value in self.stated().items():
            if value < 1:
                raise ValueError(f"{name} is {value}; a limit is at least 1, or None for no limit")

    def stated(self) -> dict[LimitName, int]:
        """The limits that are set, by name."""
        values = {name: getattr(self, name) for name in LIMIT_NAMES}
        return {name: value for name, value in values.items() if value is not None}

    def over(self, base: FakeLimits) -> FakeLimits:
        """These limits where they are set, else those of `base`; the window is this one's."""
        stated = base.stated() | self.stated()
        return FakeLimits(
            rpm=stated.get("rpm"),
            tpm=stated.get("tpm"),
            rpd=stated.get("rpd"),
            tpd=stated.get("tpd"),
            concurrency=stated.get("concurrency"),
            window=self.window,
        )


@dataclass(frozen=True, slots=True)
class FakeKey:
    """One key that the fake provider knows; its value is never shown.

    Keys of one `account` share its limits; without one, a key is its own
    account. `value=""` is the key of a caller who sends none. `name` is what the
    log calls it; by default the provider's name and its position, from 1.
    """

    value: str = field(repr=False)
    account: str | None = None
    limits: FakeLimits | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class FakeCall:
    """One admitted request, as a latency function sees it. `at` is seconds since the start."""

    at: float
    key: str
    account: str
    model: str
    stream: bool
    prompt_tokens: int
    completion_tokens: int
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key with its name, account and limits settled."""

    name: str
    account: str
    limits: FakeLimits
    value: str = field(repr=False)


class Keyring:
    """The provider's keys, found by value (callers) or by name, value or position (tests)."""

    def __init__(self, keys: Sequence[FakeKey | str], *, provider: str) -> None:
        """Raises ValueError for repeated names or values, or two limits for one account."""
        given = [FakeKey(key) if isinstance(key, str) else key for key in keys]
        names = [key.name or f"{provider}-{position}" for position, key in enumerate(given, 1)]
        limits = _account_limits(given, names)
        self._keys = tuple(
            KnownKey(name, key.account or name, limits[key.account or name], key.value)
            for name, key in zip(names, given, strict=True)
        )
        self._by_value = {key.value: key for key in self._keys}
        self._by_name = {key.name: key for key in self._keys}
        if not len(self._by_value) == len(self._by_name) == len(self._keys):
            raise ValueError("two keys have the same value or the same name; make them differ")

    def __iter__(self) -> Iterator[KnownKey]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def holder(self, credential: str) -> KnownKey | None:
        """The key that a caller presents, or None when it is not one of ours."""
        return self._by_value.get(credential)

    def find(self, key: str | int | FakeKey) -> KnownKey:
        """The key with this name, value or position (from 0); LookupError if there is none."""
        if isinstance(key, int):
            return self._keys[key]
        wanted = key.value if isinstance(key, FakeKey) else key
        found = self._by_name.get(wanted) or self._by_value.get(wanted)
        if found is None:
            # What was asked for may be a key's value, so it is not repeated here.
            raise LookupError(f"no such key; there are {', '.join(self._by_name) or 'none'}")
        return found


def _account_limits(keys: Sequence[FakeKey], names: Sequence[str]) -> dict[str, FakeLimits]:
    limits: dict[str, FakeLimits] = {}
    for key, name in zip(keys, names, strict=True):
        account = key.account or name
        if key.limits is None:
            continue
        if limits.setdefault(account, key.limits) != key.limits:
            raise ValueError(f"the keys of account {account!r} share its limits; state one only")
    return {key.account or name: FakeLimits() for key, name in zip(keys, names, strict=True)} | (
        limits
    )
