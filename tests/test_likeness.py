"""Which requests may share an old answer: the same question on the same sources, no others."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hydra_core.likeness import likeness

LINES = "\n---------------------\n"
LABELLED = [f"file: {name}.txt\n\n{text}" for name, text in (("a", "One."), ("b", "Two. Or 3."))]
STANDING = [
    "Pew came to the inn on a cold January afternoon.",
    "Flint buried his gold on an island in the western sea.",
    "Smollett sailed the schooner home with five men aboard.",
]


def rag(passages, question="Who is Pew?"):
    """LlamaIndex's usual question over a context."""
    context = "\n\n".join(passages)
    return f"Context information is below.{LINES}{context}{LINES}Query: {question}\nAnswer: "


def tagged(passages, question="Who is Pew?"):
    """A question over a context between tags."""
    return f"Use the context.\n<context>\n{chr(10).join(passages)}\n</context>\n{question}"


def key(text, *earlier, **params):
    """The name of a request whose last message says `text`."""
    messages = [{"role": "system", "content": said} for said in earlier]
    return likeness([*messages, {"role": "user", "content": text}], params)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Who wrote Treasure Island?", "who  wrote treasure Island? "),
        ("\u00bfQui\u00e9n es Pew?", "\u00bfquie\u0301n es pew?"),
        ("It is Pew\u2019s.", "it is pew's."),
        ("Who is Pew?\r\nAnd Flint?", "Who is Pew? \nand flint?"),
        (rag(LABELLED), rag(LABELLED[::-1], "who is pew?")),
        (rag(STANDING), rag(STANDING[::-1])),
        (
            tagged(["<document id='x'>One.</document>", "<document id='y'>Two.</document>"]),
            tagged(["<document id='y'>Two.</document>", "<document id='x'>One.</document>"]),
        ),
    ],
)
def test_what_is_the_same_request(one, other):
    """Typing, Unicode form, line ends, and the order of whole passages."""
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is the US?", "Where is the us?"),
        ("Is vitamin C good?", "Is vitamin c good?"),
        ("What is gitHub?", "What is github?"),
        ("What is x\u00b2?", "What is x2?"),
        ("Is it -5?", "Is it 5?"),
        ("Spell Island", "Spell island"),
        ('How long is "A b"?', 'How long is "a b"?'),
        ("How long is 'A b'?", "How long is 'a b'?"),
        ("Is f(X) odd?", "Is f(x) odd?"),
        ("for x in y:\n  print x\nprint y", "for x in y:\n  print x\n  print y"),
        ("Sort\nNew York\nRome", "Sort\nNew\nYork Rome"),
        ("Ma\u00dfe", "Masse"),
        ("a\u200db", "ab"),
        (rag(["# A", "One.", "# B", "Two."]), rag(["# A", "Two.", "# B", "One."])),
        (rag(["x: a", "One.", "x: b", "Two."]), rag(["x: a", "Two.", "x: b", "One."])),
        (rag(STANDING, "Who came first?"), rag(STANDING[::-1], "Who came first?")),
        (rag([*STANDING, "He died."]), rag(["He died.", *STANDING])),
        (rag(["PEW IS BLIND. " * 5]), rag(["Pew is blind. " * 5])),
        (f"A poem:{LINES}{STANDING[0]}\n\n{STANDING[1]}{LINES}Does it rhyme?",
         f"A poem:{LINES}{STANDING[1]}\n\n{STANDING[0]}{LINES}Does it rhyme?"),
        ("\n\n".join(STANDING), "\n\n".join(STANDING[::-1])),
    ],
)  # fmt: skip
def test_what_is_another_request(one, other):
    """Acronyms, signs, quotations, code, and passages that lean on their neighbours."""
    assert key(one) != key(other)


def test_short_passages_may_change_places_too():
    """A sentence of a few words that stands by itself is a passage; a word or two is none."""
    short = ["The bird was called Flint.", "The blind man was called Pew."]
    assert key(rag(short)) == key(rag(short[::-1]))
    assert key(rag(["Add salt.", "Stir it."])) != key(rag(["Stir it.", "Add salt."]))


def test_sampling_is_immaterial_and_all_else_counts():
    """Temperature and the like do not make another question; a user or a stop sequence does."""
    assert key("hi", temperature=0.1, max_tokens=5, seed=1, top_p=0.5) == key("hi")
    for params in ({"stop": ["x"]}, {"user": "u1"}, {"n": 2}, {"logprobs": True}):
        assert key("hi", **params) != key("hi")
    assert key("hi", "Be kind.") != key("hi")
    assert key("hi", "Be kind.") != key("hi", "be kind.")
    parts = [{"type": "text", "text": "hi"}]
    assert likeness([{"role": "user", "content": parts}], {}) != key("hi")


def typed(text):
    """What is left of a text without outer and repeated blanks, capitals and Unicode forms."""
    lines = unicodedata.normalize("NFC", text).replace("\u2019", "'").lower().split("\n")
    return [words for line in lines if (words := line.split())]


TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.text("aAbB cC'\u2019-.\n\u00b5\u03bc\u00df\u0130 ", max_size=12),
)


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS)
def test_different_questions_never_match(one, other):
    """Whatever two texts are, if they differ in more than typing their names differ."""
    one, other = one.replace("\r\n", "\n"), other.replace("\r\n", "\n")
    assume(typed(one) != typed(other))
    assert key(one) != key(other)


PASSAGES = st.lists(st.sampled_from([*STANDING, *LABELLED, "He died.", "# B", "x: y"]), max_size=5)


@settings(max_examples=400, deadline=None)
@given(PASSAGES, PASSAGES, st.sampled_from([rag, tagged]))
def test_different_sources_never_match(one, other, prompt):
    """A passage more, less or other makes another request, in whatever order they come."""
    assume(sorted("\n\n".join(one).split("\n\n")) != sorted("\n\n".join(other).split("\n\n")))
    assert key(prompt(one)) != key(prompt(other))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["One.", "Two."])), max_size=4),
       st.randoms(use_true_random=False))
def test_a_passage_stays_with_its_label(pairs, rng):
    """Any order of labelled passages is the same; a text under another label never is."""
    texts = [f"file: {name}\n\n{text}" for name, text in pairs]
    mixed = rng.sample(texts, len(texts))
    assert key(rag(texts)) == key(rag(mixed))
    swapped = [f"file: {name}\n\n{text}" for (name, _), (_, text) in
               zip(pairs, [*pairs[1:], *pairs[:1]], strict=True)]
    assert (key(rag(swapped)) == key(rag(texts))) == (sorted(swapped) == sorted(texts))


@pytest.mark.parametrize("part", ["-----\n", "<context>\n", "a: b\n", "<doc>", "'", "\n\n", "x "])
@pytest.mark.parametrize("around", [("", ""), ("<context>", "</context>")])
def test_a_prompt_built_to_make_a_pattern_backtrack_is_harmless(part, around):
    """Its cost is that of its length; the test's own time limit is the judge."""
    opened, closed = around
    key(f"Use the context: </\n{opened}{part * (400_000 // len(part))}{closed}")
