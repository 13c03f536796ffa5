"""Sources: paths, texts, documents of frameworks, and what cannot be read."""

from dataclasses import dataclass, field

import pytest

from hydra_core.errors import SourceError
from hydra_core.swarm.document import Document
from hydra_core.swarm.loaders import MAX_BYTES, load


@dataclass
class LangChainLike:
    page_content: str
    metadata: dict = field(default_factory=dict)


@dataclass
class LlamaLike:
    body: str
    metadata: dict = field(default_factory=dict)

    def get_content(self):
        return self.body


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_file_is_read_in_its_encoding(tmp_path, encoding):
    """BOMs decide; without one it is UTF-8, else Windows-1252."""
    path = tmp_path / "book.txt"
    path.write_bytes("El capitán dijo “no”.\r\n".encode(encoding))
    (document,) = load(str(path))
    assert document.text == "El capitán dijo “no”.\r\n"
    assert document.id == "book.txt"


def test_a_text_is_a_text():
    """Lines, NUL-free long strings and plain sentences are never taken for paths."""
    for text in ("A story.\nIt ends.", "x" * 5_000, "What is it, and/or why?", "The end."):
        assert load(text)[0].text == text


def test_framework_documents_are_known_by_shape():
    """Text and name come from whichever fields a framework uses; ids are made distinct."""
    documents = load([
        LangChainLike("one", {"source": "/data/a.txt"}),
        LlamaLike("two", {"file_name": "a.txt"}),
        Document.of("three"),
        "four\n",
    ])  # fmt: skip
    assert [document.text for document in documents] == ["one", "two", "three", "four\n"]
    assert [document.id for document in documents[:2]] == ["a.txt", "a.txt#2"]
    assert len({document.id for document in documents}) == 4


@pytest.mark.parametrize("name", ["missing.txt", "./missing", "books/missing.md", "my book.pdf"])
def test_a_missing_path_is_named(name):
    """A string that can only be a path is not answered as if it were the text."""
    with pytest.raises(SourceError, match="no such file"):
        load(name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"MZ\x00\x01binary", "binary"),
        (bytes(range(1, 9)) * 50 + b"\xff", "binary"),
        (b"%PDF-1.7 ...", "pdftotext"),
        (b"PK\x03\x04mimetype", "pandoc"),
    ],
)
def test_what_is_no_text_is_refused_with_a_remedy(tmp_path, content, words):
    """Empty, binary and foreign formats end in an error that says what to do."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words):
        load(path)


def test_directories_and_giants_are_refused(tmp_path):
    """A directory is not read, nor a file above the size limit."""
    with pytest.raises(SourceError, match="directory"):
        load(tmp_path)
    giant = tmp_path / "giant.txt"
    with giant.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(SourceError, match="64 MiB"):
        load(giant)


@pytest.mark.parametrize("source", [[], b"bytes", 7, None, {"a": 1}, [3]])
def test_what_is_no_source_is_refused(source):
    """Nothing and unknown types name what would have been accepted."""
    with pytest.raises(SourceError):
        load(source)
