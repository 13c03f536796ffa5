"""Each general rule by which the extractive model chooses, on a text made up for it."""

from __future__ import annotations

import pytest

from hydra_core.messages import Reply
from hydra_core.swarm.document import Document
from hydra_core.swarm.map import Read, read_reply
from hydra_core.swarm.prompts import map_prompt
from hydra_core.swarm.split import split
from hydra_core.swarm.synthesize import Synthesis
from hydra_core.swarm.values import Fact, percent
from hydra_core.testing.extractive import ExtractiveModel
from hydra_core.testing.reading.definitions import continues, defines, places
from hydra_core.testing.reading.english import stem
from hydra_core.testing.reading.findings import QUOTE_WORDS
from hydra_core.testing.reading.questions import Query
from hydra_core.testing.reading.speech import addressed, speakers
from hydra_core.testing.reading.words import names, sentences, stems

MODEL = ExtractiveModel()


def answer(text: str, question: str, *, coverage: float = 1.0) -> str:
    """What the model makes of a text, as a swarm asks it: by a map call and a synthesis."""
    document = Document.of(text, name="tale.txt")
    facts: list[Fact] = []
    for shard in split(document, budget=100_000):
        prompt = map_prompt(document, shard, question)
        said = MODEL.answer({"messages": list(prompt.messages)}).text
        outcome = read_reply(Reply(said, {}), document, shard, prompt.paragraphs)
        assert isinstance(outcome, Read)
        facts += outcome.facts
    synthesis = Synthesis(
        question, facts, documents=["tale.txt"], budget=10_000, coverage=percent(coverage)
    )
    for call in synthesis.calls():
        synthesis.report(call, MODEL.answer({"messages": list(call.messages)}).text)
    return synthesis.answer.text if synthesis.answer else ""


def test_a_name_counts_only_with_its_capital() -> None:
    """A family called Hope is not meant by every hope."""
    text = "We had no hope and little silver.\n\nMark Hope sold his farm for a song."
    assert "sold his farm" in answer(text, "What did Mark Hope sell?")
    assert "no hope" not in answer(text, "What did Mark Hope sell?")


def test_a_relative_is_someone_else() -> None:
    """The same family name behind another first name does not answer for the one asked for."""
    text = (
        "Anna Brook died in the great storm of that winter.\n\n"
        "Peter Brook died of a fever in the spring."
    )
    assert answer(text, "How did Peter Brook die?").startswith("\u201cPeter Brook died of a fever")


@pytest.mark.parametrize(
    ("sentence", "called", "speaking"),
    [
        ('"Yes, Mr. Wren, I know it well."', {"wren"}, set()),
        ('"I know it well," said Wren.', set(), {"wren"}),
        ("The cook, Wren, knew it well, I thought.", set(), set()),
    ],
)
def test_who_is_spoken_to_is_not_spoken_of(
    sentence: str, called: set[str], speaking: set[str]
) -> None:
    """A name that is called, or that says something, is told apart from one that is explained."""
    assert addressed(sentence) & {"wren"} == called
    assert speakers(sentence) & {"wren"} == speaking


def test_the_narrator_answers_to_the_name_others_call() -> None:
    """In a story told by "I" the one whom the others call Tam found the coin."""
    text = (
        '"Tam," said my aunt, "you are late." I had walked far.\n\n'
        '"Sit down, Tam," said my uncle, "and eat."\n\n'
        "Under the bench I found a coin with a hole in it.\n\n"
        "The bench was old and the hall was cold."
    )
    assert "a coin with a hole" in answer(text, "What did Tam find under the bench?")


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("Ada Bell was a baker.", 1.0),
        ("I met the well-known singer, Ada Bell, there.", 1.0),
        ("There was Ada Bell, the baker, at her door.", 1.0),
        ("They sent for a woman called Ada Bell.", 1.0),
        ("Ada Bell came in at noon.", 0.0),
    ],
)
def test_a_definition_is_known_by_its_form(text: str, worth: float) -> None:
    """What someone is stands in a few forms; that someone came in is none of them."""
    assert defines(("Ada", "Bell"), text) == worth


def test_it_is_a_follows_what_was_named() -> None:
    """The sentence after a mention says what it is: "It is a ..."."""
    text = (
        'He read it aloud: "Beware of the striped ribbon." We looked at each other.\n\n'
        '"The striped ribbon!" she cried. Something moved. "It is a marsh viper," said he.\n\n'
        "Her hat had a ribbon of blue that was striped with white, and it cost nine crowns."
    )
    assert "marsh viper" in answer(text, "What is the striped ribbon?")
    assert continues("He was a tall man.", person=True)
    assert not continues("He was a tall man.", person=False)


def test_initials_are_spelled_out() -> None:
    """What initials mean is the words that begin with them."""
    text = 'It was signed B. G. S. in red.\n\nYou have heard of the "Brown Goat Society" of Hull?'
    assert "Brown Goat Society" in answer(text, "What does B.G.S. mean?")


def test_a_question_in_the_text_is_answered_by_what_follows() -> None:
    """When someone in the book asks the same, the reply is quoted with it."""
    text = (
        "The grey token frightened him. He hid the grey token from us all.\n\n"
        '"But what is the grey token, master?" I asked.\n\n"That\'s a debt, lad."'
    )
    assert "That's a debt, lad." in answer(text, "What is the grey token?")


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("How many steps lead to the loft?", "seventeen steps"),
        ("How much did the loft cost?", "forty pounds"),
        ("How long had he lived in the loft?", "three years"),
        ("How old was the owner of the loft?", "sixty"),
        ("What colour was the door of the loft?", "green"),
        ("Where is the key of the loft?", "behind the clock"),
        ("Why was the loft locked?", "because"),
        ("When was the loft built?", "1801"),
    ],
)
def test_the_form_of_the_answer_decides(question: str, wanted: str) -> None:
    """Of sentences on one thing the one with a number, sum, date, place or cause is chosen."""
    text = (
        "The loft was full of hay, and it smelled of it.\n\n"
        "There are seventeen steps to the loft.\n\n"
        "The loft had cost him forty pounds.\n\n"
        "He had lived in the loft for three years.\n\n"
        "The owner of the loft was a man of sixty.\n\n"
        "The door of the loft was painted green.\n\n"
        "The key of the loft is behind the clock.\n\n"
        "The loft was locked because of the rats.\n\n"
        "The loft was built in 1801."
    )
    assert wanted in answer(text, question).split("[1]")[0]


def test_the_holder_of_an_office_is_named() -> None:
    """Whoever bears the title answers for the role."""
    text = "Captain Rook of the Swallow swore at us. The Swallow was a small ship and a wet one."
    assert "Captain Rook" in answer(text, "Who was the captain of the Swallow?")


@pytest.mark.parametrize(
    "passage",
    [
        "They had killed the heron's friend at Dover Mill and gone home.",
        "Someone killed the heron. This was Dunn's heron.",
        'The heron was killed. "Mr. Dunn," said I, "you are late."',
    ],
)
def test_no_name_is_asserted_that_the_passage_does_not_carry(passage: str) -> None:
    """A place, an owner or someone spoken to has not done the deed."""
    assert "point to" not in answer(passage, "Who killed the heron?")


def test_a_name_beside_the_deed_is_asserted() -> None:
    """Where the passage says it, the name leads the answer."""
    text = "It was Mr. Dunn who killed the heron, as all the village knew."
    assert answer(text, "Who killed the heron?").startswith("The passages point to Mr. Dunn.")


def test_a_thing_that_is_never_spoken_of_has_no_answer() -> None:
    """Passages on the name alone do not answer, and the reader is told how much was read."""
    text = "Dunn thought little of the new bridge.\n\nDunn thought of his supper."
    question = "What did Dunn think of the telephone?"
    assert answer(text, question).startswith("No passage answers this directly, in all of the text")
    assert "in the 31 % read; the rest may" in answer(text, question, coverage=0.31)


def test_an_unknown_name_has_no_direct_answer() -> None:
    """A title and a common verb are not enough to answer with other people."""
    text = "The captain ate his supper. The cook ate too."
    assert answer(text, "What did Captain Orme eat?").startswith("No passage answers this directly")


def test_one_good_passage_is_shown_alone() -> None:
    """What merely touches the question is not put beside what answers it."""
    text = (
        "The brass lamp hangs in the north tower.\n\nA lamp is a fine thing.\n\n"
        "Brass is dear this year, and the north is cold."
    )
    assert answer(text, "Where does the brass lamp hang?").count("\u201c") == 1


def test_a_list_shows_several_passages() -> None:
    """Asked for names in the plural, the answer shows every passage that gives one."""
    text = (
        "The first ferry is called the Otter.\n\nIt rained all day.\n\n"
        "The second ferry is called the Heron.\n\nThe third ferry is called the Teal."
    )
    shown = answer(text, "What are the names of the ferries?")
    assert all(name in shown for name in ("Otter", "Heron", "Teal"))


def test_a_long_sentence_is_quoted_by_whole_clauses() -> None:
    """A quote is cut at a pause, keeps the asked-for words, and shows where it was cut."""
    filler = "and then there was the rain, which fell on the just and on the unjust alike, "
    hidden = "and Wren had hidden the ledger under the hearth, "
    text = f"We began to walk, {filler * 3}{hidden}{filler * 2}and so we came home."
    shown = answer(text, "Where had Wren hidden the ledger?")
    quote = shown.split("\u201c")[1].split("\u201d")[0]
    assert "under the hearth" in quote
    assert quote.startswith("\u2026 ")
    assert quote.endswith(" \u2026")
    assert len(quote.replace("\u2026", "").split()) <= QUOTE_WORDS


@pytest.mark.parametrize(
    "question", ["\u00bfQui\u00e9n era Ada Bell?", "\u00bfQui\u00e9n es Ada Bell?"]
)
def test_a_spanish_question_is_read_by_its_names(question: str) -> None:
    """Spanish question words are understood, so a question on a name finds the name."""
    text = "Ada Bell, the baker, stood at her door. The road to Bell Farm was long."
    assert "the baker" in answer(text, question)


def test_names_in_capitals_are_names() -> None:
    """A plain text has no italics, so a ship's name stands in capitals; a shout is none."""
    assert names("We saw the SWALLOW under sail.") == ["Swallow"]
    assert names("WE SAW THE SHIP.") == []


def test_a_title_is_no_verb() -> None:
    """Miss Reed is not missing, and initials are one word."""
    assert "miss" not in stems("Miss Reed came.")
    assert stems("U. S. A.") == ["usa"]


@pytest.mark.parametrize(
    ("form", "base"), [("overheard", "overhear"), ("eating", "eat"), ("need", "need")]
)
def test_stems_keep_what_is_no_ending(form: str, base: str) -> None:
    """Prefixed forms meet their base, and a short word's end is no ending."""
    assert stem(form) == base


def test_speech_goes_on_to_its_closing_mark() -> None:
    """A sentence in the midst of a speech is known to be spoken."""
    found = sentences('"I am late. I lost my way." I laughed.')
    assert [one.spoken for one in found] == [False, True, False]


@pytest.mark.parametrize(
    "question", ["who is " + "a" * 20_000, "what is " + "ab " * 5_000, "?" * 5_000, "Who is ?", "."]
)
def test_odd_questions_are_read_at_once(question: str) -> None:
    """No question, however long or empty, makes reading it slow or fail."""
    assert Query.of(question).text == question.strip()


def test_a_place_is_known_by_its_form() -> None:
    """Where something is follows it, after a preposition or as an address."""
    assert places(("Heron", "Lodge"), "You are at Heron Lodge, Mill Lane.")
    assert places(("Heron", "Lodge"), "Heron Lodge lies behind the mill.")
    assert not places(("Heron", "Lodge"), "Heron Lodge has two floors.")


def test_a_quote_from_the_midst_of_a_speech_has_both_its_marks() -> None:
    """A speech that began before the quote is opened in it, one that goes on is closed."""
    text = '"It was dark. Dunn lost the golden key!" cried the cook. "Dunn wept. He left."'
    assert answer(text, "Who lost the golden key?").endswith(
        "\u201c'Dunn lost the golden key!' cried the cook.\u201d [1]"
    )
    goes_on = '"Dunn wept over the golden key. He left."'
    assert answer(goes_on, "Who wept over the key?").startswith(
        "\u201c'Dunn wept over the golden key.'\u201d"
    )
