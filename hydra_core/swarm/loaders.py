"""Turn whatever a caller has into documents: paths, texts, or a framework's documents.

Framework documents are recognised by their shape (`page_content` or `text` with
`metadata`), so no framework is imported. This is the one module of the swarm
that reads files.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from hydra_core.errors import SourceError
from hydra_core.swarm.document import Document

MAX_BYTES: Final = 64 * 2**20
"""Largest file that is read, in bytes."""

_MAX_PATH: Final = 1_024
_UNDECODABLE_SHARE: Final = 0.1
_PATH_LIKE: Final = re.compile(
    r"(?:[A-Za-z]:)?[^\s?*\"<>|]*[^\s?*\"<>|.,;:!/\\][/\\][^?*\"<>|\s]*"  # dir/file
    r"|[~.]{0,2}[/\\]\S.*"  # ./x, ~/x, /x
    r"|[^?*\"<>|]*\S\.(?:txt|text|md|markdown|rst|log|csv|json|html?|pdf|epub|docx?|rtf|odt)",
    re.IGNORECASE,
)
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FORMATS: Final = (
    (b"%PDF-", "a PDF", "pdftotext -layout {name} book.txt"),
    (b"PK\x03\x04", "an EPUB or another zip archive", "pandoc {name} -t plain -o book.txt"),
    (b"{\\rtf", "an RTF file", "pandoc {name} -t plain -o book.txt"),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "soffice --convert-to txt {name}"),
)


@runtime_checkable
class PageContent(Protocol):
    """A LangChain document."""

    page_content: str
    metadata: Mapping[str, object]


@runtime_checkable
class TextNode(Protocol):
    """A LlamaIndex document or node."""

    metadata: Mapping[str, object]

    def get_content(self) -> str:
        """The text without metadata."""


@runtime_checkable
class PlainText(Protocol):
    """Anything else that carries a text and metadata."""

    text: str
    metadata: Mapping[str, object]


Item = str | os.PathLike[str] | Document | PageContent | TextNode | PlainText
Source = Item | Iterable[Item]


def load(source: Source) -> tuple[Document, ...]:
    """Read a source into documents with distinct ids, in the order given.

    A string is a path when such a file exists; else it is the text itself, unless
    it is one line that can only be meant as a path.

    Raises:
        SourceError: a file is missing, empty, binary, too large, or of a format
            that this version does not read; or the source is none of the kinds above.
    """
    items: Iterable[Item]
    if isinstance(source, _ITEM_TYPES):
        items = [source]
    elif isinstance(source, Iterable) and not isinstance(source, Mapping | bytes | bytearray):
        items = source
    else:
        raise SourceError(_not_a_source(source))
    documents = [_load_one(item) for item in items]
    if not documents:
        raise SourceError("the source is an empty list: there is nothing to read")
    return tuple(_with_distinct_ids(documents))


_ITEM_TYPES: Final = (str, os.PathLike, Document, PageContent, TextNode, PlainText)


def _not_a_source(source: object) -> str:
    return (
        f"cannot read a {type(source).__name__}: give a path, a text, a Document, "
        "a framework's document, or a list of these"
    )


def _load_one(item: Item) -> Document:
    if isinstance(item, Document):
        return _checked(item)
    if isinstance(item, str):
        path = _as_path(item)
        return _from_text(item, None) if path is None else _read(path)
    if isinstance(item, os.PathLike):
        return _read(Path(item))
    if isinstance(item, PageContent):
        return _from_text(item.page_content, item.metadata)
    if isinstance(item, TextNode):
        return _from_text(item.get_content(), item.metadata)
    if isinstance(item, PlainText):
        return _from_text(item.text, item.metadata)
    raise SourceError(_not_a_source(item))


def _as_path(text: str) -> Path | None:
    """The path that a string means, or None when it is a text."""
    if not text or len(text) > _MAX_PATH or "\n" in text or "\r" in text or "\0" in text:
        return None
    try:
        path = Path(text).expanduser()
        if path.exists():
            return path
    except (OSError, ValueError, RuntimeError):  # RuntimeError: ~ of an unknown user
        return None
    if _PATH_LIKE.fullmatch(text.strip()):
        raise SourceError(f"no such file: {text!r}; check the path, or pass a Path or the text")
    return None


def _read(path: Path) -> Document:
    name = str(path)
    try:
        if path.is_dir():
            raise SourceError(f"{name!r} is a directory: pass a list of the files to read")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"cannot read {name!r}: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise SourceError(f"{name!r} is larger than {MAX_BYTES >> 20} MiB: split it first")
    return _checked(Document.of(_decode(data, name), name=path.name))


def _decode(data: bytes, name: str) -> str:
    for magic, what, remedy in _FORMATS:
        if data.startswith(magic):
            raise SourceError(
                f"{name!r} is {what}; this version reads text and Markdown only. "
                f"Convert it first, for example: {remedy.format(name=name)}"
            )
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _decode_as(data, encoding, name)
    if b"\0" in data:
        raise SourceError(f"{name!r} is a binary file: it holds NUL bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_as(data, "cp1252", name)


def _decode_as(data: bytes, encoding: str, name: str) -> str:
    """Decode, letting a few bad bytes pass as U+FFFD; many mean that it is no text."""
    text = data.decode(encoding, "replace")
    bad = sum(text.count(character) for character in ("\ufffd", *map(chr, _CONTROLS)))
    if bad > _UNDECODABLE_SHARE * len(text):
        raise SourceError(f"{name!r} is a binary file, or in an encoding that is not known here")
    return text


_CONTROLS: Final = (*range(9), 11, *range(14, 32), 127)


def _from_text(text: object, metadata: Mapping[str, object] | None) -> Document:
    if not isinstance(text, str):
        raise SourceError(f"the text of a document is a {type(text).__name__}, not a string")
    return _checked(Document.of(text, name=_name_in(metadata or {})))


def _name_in(metadata: Mapping[str, object]) -> str | None:
    for field in ("file_name", "source", "file_path", "title"):
        if isinstance(value := metadata.get(field), str) and value.strip():
            return Path(value).name if field != "title" else value
    return None


def _checked(document: Document) -> Document:
    if not document.text.strip():
        raise SourceError(f"{document.id!r} is empty: there is nothing to read")
    return document


def _with_distinct_ids(documents: Iterable[Document]) -> Iterable[Document]:
    """Number repeated ids: a citation has to name one document."""
    taken: set[str] = set()
    for document in documents:
        names = (f"{document.id}#{number}" for number in count(2))
        name = document.id if document.id not in taken else next(n for n in names if n not in taken)
        taken.add(name)
        yield document if name == document.id else replace(document, id=name)
