"""Tools and schemas in OpenAI's words."""

import pytest
from pydantic import BaseModel

from hydra_langchain.structured import response_format_for, tool_choice_for

ADD = {"type": "function", "function": {"name": "add", "parameters": {}}}


class Joke(BaseModel):
    """A joke."""

    setup: str


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("any", "required"),
        (True, "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("add", {"type": "function", "function": {"name": "add"}}),
        ({"type": "function", "function": {"name": "x"}},) * 2,
    ],
)
def test_every_way_to_choose_a_tool(choice, sent):
    """LangChain's words for a tool choice become OpenAI's; an object passes as it is."""
    assert tool_choice_for(choice, [ADD]) == sent


def test_a_choice_that_is_no_tool_is_named():
    """A mistyped tool name raises here, with the tools there are."""
    with pytest.raises(ValueError, match=r"'ad' is none of the bound tools \(add\)"):
        tool_choice_for("ad", [ADD])


def test_a_schema_becomes_a_response_format():
    """A class is described by name and schema; `strict` is said only when it was."""
    sent = response_format_for(Joke)
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "Joke"
    assert sent["json_schema"]["schema"]["required"] == ["setup"]
    assert "strict" not in sent["json_schema"]
    assert response_format_for(Joke, strict=True)["json_schema"]["strict"] is True
    assert response_format_for(sent) is sent
