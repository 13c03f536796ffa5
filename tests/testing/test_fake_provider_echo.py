"""The echo model: tools and schemas filled from the user's own words."""

import json

import pytest

from hydra_core.testing import EchoModel
from hydra_core.testing.schema import instance

SAID = "Please add 'Anna Karenina' (873 pages, in russian) to the shelf, don't delay."


def ask(content=SAID, **fields):
    return EchoModel().answer({"messages": [{"role": "user", "content": content}], **fields})


def tool(name, **properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def test_it_repeats_the_last_words_of_the_user():
    """Text comes back, from string or parts; a fixed text replaces it; the same is said twice."""
    parts = [{"type": "text", "text": "ahoy"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert ask(parts).text == "You said: ahoy"
    assert ask().text == ask().text
    assert (
        EchoModel("aye").answer({"messages": [{"role": "user", "content": "ahoy"}]}).text == "aye"
    )


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "function", "function": {"name": "sell"}}, "sell"),
        ("required", "add"),
        ("auto", "add"),
        (None, "add"),
        ("none", None),
    ],
)
def test_tool_choice_is_honoured(choice, called):
    """A named tool is called; else the one that the text names; `none` is answered in text."""
    tools = [tool("sell", title={"type": "string"}), tool("add", title={"type": "string"})]
    answer = ask(tools=tools, tool_choice=choice)
    assert [call.name for call in answer.tool_calls] == ([called] if called else [])
    assert bool(answer.text) == (called is None)


def test_arguments_come_from_the_words_of_the_user():
    """Strings are the single-quoted name, integers the first number, enums what the text names."""
    shelf = tool(
        "add",
        title={"type": "string"},
        pages={"type": "integer"},
        language={"enum": ["french", "russian"]},
    )
    (call,) = ask(tools=[shelf]).tool_calls
    assert json.loads(call.arguments) == {
        "title": "Anna Karenina",
        "pages": 873,
        "language": "russian",
    }


def test_after_a_tools_result_it_speaks():
    """A conversation with a tool ends: its result is answered in text, even if one is required."""
    messages = [{"role": "user", "content": SAID}, {"role": "tool", "content": "done"}]
    body = {"messages": messages, "tools": [tool("add")], "tool_choice": "required"}
    assert EchoModel().answer(body).text == "The tool says: done"


def test_response_formats_get_json():
    """`json_object` gets an object, `json_schema` one that fits the schema."""
    schema = {"type": "object", "properties": {"pages": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "book", "schema": schema}}
    assert json.loads(ask(response_format=wanted).text) == {"pages": 873}
    assert isinstance(json.loads(ask(response_format={"type": "json_object"}).text), dict)


NAME = "Anna Karenina"
NODE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["name"],
}


def properties(**schemas):
    return {"type": "object", "properties": schemas, "required": list(schemas)}


@pytest.mark.parametrize(
    ("schema", "built"),
    [
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"const": "fixed"}, "fixed"),
        ({"enum": [3, 4]}, 3),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "string", "maxLength": 4}, "Anna"),
        ({"type": "string", "minLength": 15}, "Anna Karenina.."),
        ({"type": "integer", "maximum": 500}, 500),
        ({"type": "integer", "minimum": 1000}, 1000),
        ({"type": "integer", "exclusiveMaximum": 10}, 9),
        ({"type": "number", "exclusiveMaximum": 10}, 9.5),
        ({"type": "number", "minimum": 4, "maximum": 4}, 4.0),
        ({"type": ["null", "integer"]}, 873),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 873),
        ({"oneOf": [{"type": "array", "items": {"type": "string"}, "minItems": 2}]}, [NAME] * 2),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, [873, NAME]),
        (
            {"allOf": [properties(a={"type": "integer"}), properties(b={"const": "fixed"})]},
            {"a": 873, "b": "fixed"},
        ),
        (
            {"$defs": {"page": {"type": "integer"}}, **properties(p={"$ref": "#/$defs/page"})},
            {"p": 873},
        ),
        (True, NAME),
    ],
)
def test_what_it_builds_fits_the_schema(schema, built):
    """Types, bounds, references and choices of a schema are kept, in the user's own words."""
    assert instance(schema, SAID) == built


def test_a_schema_that_contains_itself_ends():
    """A tree of trees is built some levels deep and then left out."""
    built = instance({"$defs": {"node": NODE}, "$ref": "#/$defs/node"}, SAID)
    depth = 0
    while built.get("children"):
        (built,) = built["children"]
        depth += 1
    assert (0 < depth < 10, built["name"]) == (True, NAME)
