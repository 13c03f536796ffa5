"""A model without a model: it finds the sentences that answer a question, and quotes them.

It sees nothing but the prompt. It knows three kinds: a swarm's map call, a
swarm's synthesis, and anything else, where it looks for a question and a context
as retrieval pipelines write them. The same prompt always gives the same answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hydra_core.testing.answer import FakeAnswer
from hydra_core.testing.reading.composing import ALL, best_keys, compose, plain_answer
from hydra_core.testing.reading.findings import report_on
from hydra_core.testing.reading.passages import Passage
from hydra_core.testing.reading.questions import Query
from hydra_core.testing.reading.ranking import rank
from hydra_core.testing.reading.words import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra_core.testing.reading.findings import Finding

_MAP: Final = re.compile(
    r"<text (?P<mark>[0-9a-f]+)>\n(?P<text>.*?)\n</text (?P=mark)>\s*Question: (?P<question>.*)",
    re.DOTALL,
)
_FACTS: Final = re.compile(
    r"<facts (?P<mark>[0-9a-f]+)>\n(?P<facts>.*?)\n</facts (?P=mark)>"
    r"(?:\s*Share of the document read: (?P<share>[^\n]*))?\s*Question: (?P<question>.*)",
    re.DOTALL,
)
_FACT: Final = re.compile(
    r"^\[(?P<key>F\d+)\] (?P<claim>.*)\n    words[^:\n]*: (?P<quote>.*)\n    place: (?P<place>.*)$",
    re.MULTILINE,
)
_PARAGRAPH: Final = re.compile(r"\[p(\d+)\] ")
_QUESTION: Final = (
    re.compile(
        r"^\s*(?:Query|Question|Q|Pregunta|User question)\s*:\s*(\S[^\n]*)",
        re.MULTILINE | re.IGNORECASE,
    ),
    re.compile(r"^The original query is as follows: (\S[^\n]*)", re.MULTILINE | re.IGNORECASE),
)
_CONTEXT: Final = re.compile(
    r"(?:context|contexto|documents?|passages?|sources?)\b[^\n]{0,80}?(?::|\bbelow\b|\bfollowing\b)"
    r"[^\n]*\n",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"-{3,}|={3,}|</?\w+>")


@dataclass(frozen=True, slots=True)
class ExtractiveModel:
    """Hydra's built-in model: an `Answerer` that quotes the prompt and knows nothing else."""

    def answer(self, body: dict[str, Any]) -> FakeAnswer:
        """Answer one chat request (OpenAI's format) from its own words alone."""
        texts = [_content(message) for message in body.get("messages", ())]
        last = texts[-1] if texts else ""
        if asked := _MAP.search("\n".join(texts)):
            return FakeAnswer(_map_report(asked))
        if asked := _FACTS.search(last):
            return FakeAnswer(_synthesis(asked, selecting=any('{"kept"' in text for text in texts)))
        answer = _chat_answer(texts, last)
        if (body.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
            answer = json.dumps({"answer": answer, "model": "built-in extractive"})
        return FakeAnswer(answer)


def _content(message: dict[str, Any]) -> str:
    """A message's text; parts that are not text are left out."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _map_report(asked: re.Match[str]) -> str:
    marked = asked["text"]
    text = _PARAGRAPH.sub("", marked)
    query = Query.of(asked["question"].strip())
    findings = report_on(query, text)
    paragraphs = _paragraph_starts(marked)
    facts = [_fact(finding, text, paragraphs) for finding in findings]
    report = {
        "relevant": bool(facts),
        "facts": facts,
        "partial_answer": facts[0]["claim"] if facts else None,
        "rationale": "These sentences share the most words with the question." if facts else "",
        "needs": [],
        "confidence": round(min(5.0, 5 * findings[0].score), 1) if findings else 0,
    }
    return json.dumps(report, ensure_ascii=False)


def _fact(finding: Finding, text: str, paragraphs: list[tuple[int, int]]) -> dict[str, Any]:
    number = max((n for start, n in paragraphs if start <= finding.start), default=1)
    return {
        "claim": finding.claim,
        "quote": text[finding.start : finding.end],
        "para": number,
        "kind": "stated",
        "entities": list(finding.names),
        "time": None,
        "confidence": round(min(5.0, 5 * finding.score), 1),
    }


def _paragraph_starts(marked: str) -> list[tuple[int, int]]:
    """Where each numbered paragraph begins once the numbers are taken out."""
    starts, removed = [], 0
    for found in _PARAGRAPH.finditer(marked):
        starts.append((found.start() - removed, int(found[1])))
        removed += len(found[0])
    return starts


def _synthesis(asked: re.Match[str], *, selecting: bool) -> str:
    query = Query.of(asked["question"].strip())
    passages = list(_passages(asked["facts"]))
    if selecting:
        return json.dumps({"kept": best_keys(query, passages)})
    return compose(query, passages, share=(asked["share"] or ALL).strip())


def _passages(facts: str) -> Iterator[Passage]:
    for found in _FACT.finditer(facts):
        yield Passage(found["key"], found["claim"], found["quote"], found["place"])


def _chat_answer(texts: list[str], last: str) -> str:
    """Answer a retrieval prompt from its context; say what this model is to anything else."""
    question = _question(last)
    context = "\n\n".join(_contexts(texts, question))
    found = rank(Query.of(question), sentences(context)).scored if context else ()
    return plain_answer(question, [one.sentence.text for one in found[:2] if one.cover >= 0.3])


def _question(text: str) -> str:
    """What is asked: a labelled question, else the last line that ends with "?", else all."""
    for pattern in _QUESTION:
        if labelled := pattern.findall(text):
            return str(labelled[-1]).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    asked = [line for line in lines if line.endswith("?")]
    return asked[-1] if asked else (lines[-1] if lines else "")


def _contexts(texts: list[str], question: str) -> Iterator[str]:
    """What the prompt gives to answer from: what follows a word such as "context"."""
    for text in texts:
        label = _CONTEXT.search(text)
        body = text[label.end() :] if label else text if len(text) > 4 * len(question) else ""
        kept = [
            line
            for line in body.splitlines()
            if question not in line and not _FENCE.fullmatch(line.strip())
        ]
        if any(kept):
            yield "\n".join(kept)
