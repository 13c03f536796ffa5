"""The last rungs of the ladder: a cached answer with its age, or an honest wait with its ETA."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from hydra_core.dialects.json_body import scrub
from hydra_core.drive.redaction import redacted
from hydra_core.engine.durations import duration
from hydra_core.errors import DeadlineExceeded
from hydra_core.likeness import likeness
from hydra_core.messages import ChatRequest, Reply
from hydra_core.store.late_row import rows_of

if TYPE_CHECKING:
    from hydra_core.config import HydraConfig
    from hydra_core.drive.exchange import Exchange
    from hydra_core.errors import PoolExhausted
    from hydra_core.store.cache_file import Row
    from hydra_core.store.response_cache import ResponseCache

_WAIT = {
    "en": "No key can answer now. This request could start in about {eta}. Nothing was lost: "
    "ask again then.",
    "es": "Ninguna llave puede responder ahora. Esta petición podría empezar en unos {eta}. "
    "No se ha perdido nada: vuelve a preguntar entonces.",
}
_LATE = {
    "en": "No answer came before the deadline. Another try could start in about {eta}. Nothing was "
    "lost: ask again then, with a longer deadline.",
    "es": "No llegó ninguna respuesta antes del plazo. Otro intento podría empezar en unos {eta}. "
    "No se ha perdido nada: vuelve a preguntar entonces, con un plazo más largo.",
}
_NO_ETA = {
    "en": "No key can answer, and waiting will not help: {why}. See health() for the state of "
    "every key.",
    "es": "Ninguna llave puede responder y esperar no ayudará: {why}. Véase health() para el "
    "estado de cada llave.",
}
_OFFLINE = {
    "en": "No provider can be reached: this machine seems to be offline (if it is not, check "
    "base_url and the server behind it). Your keys are well, and are used again as soon as one "
    "answers; the next try is due in about {eta}.",
    "es": "No se alcanza a ningún proveedor: esta máquina parece estar sin conexión (si no lo "
    "está, revisa base_url y el servidor que hay detrás). Tus llaves están bien y se usarán en "
    "cuanto uno responda; el próximo intento será en unos {eta}.",
}
_CAUSE = {"en": "The cause", "es": "La causa"}
# The wait is for a key's limit, and what else is wrong does not make it longer.
_BESIDES = {"en": "Besides, calls failed", "es": "Además, fallaron llamadas"}
_CAUSES = 3
_UNKNOWN = {"en": "no route is open", "es": "no hay ninguna ruta abierta"}
# A reply that was cut short answers the request that was content with it, and no other.
_CUT = ("length", "content_filter")
# Seconds for a disk: a call may end that much after its deadline, and no more.
_LEAST_READING, _MOST_READING = 0.1, 1.0
_SAID = ("text", "provider", "model", "key", "finish_reason")


class Ladder:
    """What a caller gets when no full answer can be had in time."""

    def __init__(self, config: HydraConfig, exchange: Exchange) -> None:
        self._language = config.language
        self._exchange = exchange
        self.cache: ResponseCache | None = None
        if config.cache:
            from hydra_core.store.response_cache import ResponseCache

            self.cache = ResponseCache(config.cache_url(), redact=self._redact)

    def _redact(self, text: str) -> str:
        return redacted(text, self._exchange.secrets)

    def remember(self, request: ChatRequest, reply: Reply) -> None:
        """Keep a full answer for bad times; never waits for a disk."""
        if self.cache is None or reply.tool_calls or not reply.text or _cut_unasked(request, reply):
            return
        # The bytes, and not the caller's list, which may be another conversation by the time
        # that somebody works out what the request is like.
        written = _written(request)
        if written is None:
            return
        # No more than its words: a whole reply is large, and would be held until it is replaced.
        said = (reply.text, reply.provider, reply.model, reply.key, reply.finish_reason)
        self.cache.put_later(written, partial(_rows, written, said, time.time()))

    def instead(self, request: ChatRequest, error: PoolExhausted, left: float) -> Reply:
        """A cached answer to the same request, or to one like it, else a notice of the wait.

        `left` is the seconds until the call's deadline; a slow disk is not waited for longer.
        """
        found = None
        if self.cache is not None:
            within = min(max(left, _LEAST_READING), _MOST_READING)
            written = _written(request)
            if written is not None:
                found = self.cache.recall(
                    _fingerprint(written), partial(_alike, written), within=within
                )
        if found is not None:
            text = str(found.reply_json["text"])
            return Reply(
                text=text,
                message={"role": "assistant", "content": text},
                kind="cached",
                age=max(0.0, time.time() - found.at),
                eta=error.eta,
                attempts=error.attempts,
                provider=found.reply_json.get("provider"),
                model=found.reply_json.get("model"),
                key=found.reply_json.get("key"),
                finish_reason=found.reply_json.get("finish_reason"),
            )
        text = self._notice(error)
        return Reply(
            text=text,
            message={"role": "assistant", "content": text},
            kind="wait",
            eta=error.eta,
            attempts=error.attempts,
        )

    def _notice(self, error: PoolExhausted) -> str:
        if error.eta is not None:
            words = _OFFLINE if error.offline else _WAIT
            if not error.offline and (error.eta == 0.0 or isinstance(error, DeadlineExceeded)):
                words = _LATE
            told = words[self._language].format(eta=duration(error.eta))
            if not error.causes or error.offline:
                return told
            limited = words is _WAIT and error.limit_eta == error.eta
            heading = (_BESIDES if limited else _CAUSE)[self._language]
            return f"{told} {heading}: {'; '.join(error.causes[:_CAUSES])}."
        # The first line of the error says what to do; those after it say who rests and why.
        why = "; ".join(line.strip().rstrip(".") for line in str(error).splitlines()[1:])
        return _NO_ETA[self._language].format(why=why or _UNKNOWN[self._language])

    def close(self) -> None:
        """Flush what is still to be written."""
        if self.cache is not None:
            self.cache.close()


def _cut_unasked(request: ChatRequest, reply: Reply) -> bool:
    """Cut at a length that the caller did not name: an account's credit, or a model's limit.

    When it is asked for again there may be room for all of it.
    """
    return reply.finish_reason == "length" and request.max_tokens is None


def _written(request: ChatRequest) -> bytes | None:
    """The request as it is told from others; None for one with a parameter that is no JSON.

    It may have been answered all the same, by a provider to whom that was not sent.
    """
    parts = (request.messages, request.model, request.provider, request.params)
    try:
        return orjson.dumps(parts, default=str, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a lone surrogate, or a key that is no text: what is sent is mended too
        mended = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
        with suppress(TypeError, RecursionError):
            return orjson.dumps(scrub(parts), default=str, option=mended)
        return None


def _fingerprint(written: bytes) -> str:
    return hashlib.sha256(written).hexdigest()


def _alike(written: bytes) -> str:
    messages, _, _, params = orjson.loads(written)
    return likeness(messages, params)


def _rows(written: bytes, said: tuple[str | None, ...], at: float) -> tuple[Row, ...]:
    """What is kept of a reply to the request that was written so."""
    messages, _, _, params = orjson.loads(written)
    content = messages[-1].get("content")
    kept: dict[str, Any] = dict(zip(_SAID, said, strict=True))
    formed = ChatRequest(messages, params=params).needs_structure
    whole = kept["finish_reason"] not in _CUT and not formed
    return rows_of(
        _fingerprint(written),
        content if isinstance(content, str) else "",
        kept,
        at,
        partial(_alike, written) if whole else None,
    )
