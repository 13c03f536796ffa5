"""What an interrupted reading leaves behind, so that the next one sends only the rest.

A token holds the shards, which of them were read, and their facts, but nothing
of the text: the source is given again and must be the same.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from hydra_core.errors import ConfigError
from hydra_core.swarm.prompts import PROMPT_VERSION
from hydra_core.swarm.split import CONTEXT_TAIL, Shard
from hydra_core.swarm.values import Fact, SwarmResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hydra_core.swarm.document import Document
    from hydra_core.swarm.values import ShardReport

_FORM: Final = 1
_MOST_BYTES: Final = 64 * 2**20
_GIVEN_AGAIN: Final = ("quote", "page", "heading")
"""Parts of a fact that its place in the text gives back."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far an earlier run came: shards read, shards still to read, facts found."""

    read: tuple[Shard, ...]
    unread: tuple[Shard, ...]
    facts: tuple[Fact, ...]


def token_of(
    question: str,
    documents: Mapping[str, Document],
    shards: Iterable[ShardReport],
    facts: Iterable[Fact],
) -> str:
    """The token with which `checkpoint_of` goes on from here."""
    state = {
        **_identity(question, documents),
        "shards": [[one.document, one.start, one.end, one.state == "read"] for one in shards],
        "facts": [_slim(fact) for fact in facts if fact.state != "unverified"],
    }
    packed = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)
    return base64.urlsafe_b64encode(packed).decode("ascii")


def checkpoint_of(
    resume: str | SwarmResult, question: str, documents: Mapping[str, Document]
) -> Checkpoint:
    """Read a token, or the one in a result.

    Raises:
        ConfigError: the token is damaged, or belongs to another question or source.
    """
    token = resume.resume_token if isinstance(resume, SwarmResult) else resume
    if token is None:
        raise ConfigError("resume: this result is complete; there is nothing to go on with")
    if not isinstance(token, str):
        raise ConfigError("resume: give a result of swarm(), or its resume_token")
    state = _unpacked(token)
    identity = _identity(question, documents)
    for name, value in identity.items():
        if state.get(name) != value:
            raise ConfigError(
                f"resume: the token was made for another {name}; give the same one, "
                "or leave resume out"
            )
    shards = [
        (_shard(index, documents[document], start, end), done)
        for index, (document, start, end, done) in enumerate(state["shards"])
    ]
    return Checkpoint(
        read=tuple(shard for shard, done in shards if done),
        unread=tuple(shard for shard, done in shards if not done),
        facts=tuple(_whole(row, documents) for row in state["facts"]),
    )


def _identity(question: str, documents: Mapping[str, Document]) -> dict[str, Any]:
    return {
        "form": _FORM,
        "prompt version": PROMPT_VERSION,
        "question": question,
        "source": [[document.id, document.sha256] for document in documents.values()],
    }


def _unpacked(token: str) -> dict[str, Any]:
    try:
        packed = base64.urlsafe_b64decode(token.encode("ascii"))
        state = json.loads(zlib.decompressobj().decompress(packed, _MOST_BYTES))
    except (ValueError, binascii.Error, zlib.error) as error:
        raise ConfigError("resume: this is no resume token, or it was cut") from error
    if not isinstance(state, dict):
        raise ConfigError("resume: this is no resume token")
    return state


def _shard(index: int, document: Document, start: int, end: int) -> Shard:
    return Shard(
        index=index,
        start=start,
        end=end,
        heading_path=document.heading_path(start),
        context_tail_start=max(0, start - CONTEXT_TAIL),
        document=document.id,
    )


def _slim(fact: Fact) -> dict[str, Any]:
    return {name: value for name, value in asdict(fact).items() if name not in _GIVEN_AGAIN}


def _whole(row: dict[str, Any], documents: Mapping[str, Document]) -> Fact:
    document = documents[row["document"]]
    start, end = row["start"], row["end"]
    return Fact(
        **{**row, "entities": tuple(row["entities"])},
        quote=document.text[start:end],
        page=document.page_at(start),
        heading=document.heading_path(start),
    )
