"""Tools and schemas in OpenAI's words, and the parsers that read the answers."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import Runnable

StructureMethod = Literal["function_calling", "json_mode", "json_schema"]
"""How a model is made to answer in a schema: by a forced tool call, by asking for
JSON of any shape, or by the provider's own schema support."""

ToolChoice = dict[str, Any] | str | bool | None


def tool_choice_for(choice: ToolChoice, tools: Sequence[dict[str, Any]]) -> dict[str, Any] | str:
    """A tool choice in OpenAI's words: a tool's name becomes an object, `any` and True `required`.

    Raises ValueError for a name that is none of the tools'.
    """
    names = [tool["function"]["name"] for tool in tools if "function" in tool]
    if isinstance(choice, dict):
        return choice
    if choice is True or choice in ("any", "required"):
        return "required"
    if choice in ("auto", "none"):
        return str(choice)
    if choice not in names:
        raise ValueError(
            f"tool_choice={choice!r} is none of the bound tools ({', '.join(names)}), "
            "nor 'auto', 'none', 'any' or 'required'"
        )
    return {"type": "function", "function": {"name": choice}}


def response_format_for(
    schema: dict[str, Any] | type, *, strict: bool | None = None
) -> dict[str, Any]:
    """A schema as OpenAI's `response_format`; one that already is passes unchanged."""
    if isinstance(schema, dict) and schema.get("type") in ("json_schema", "json_object", "text"):
        return schema
    function = convert_to_openai_tool(schema, strict=strict)["function"]
    described: dict[str, Any] = {"name": function["name"], "schema": function["parameters"]}
    if function.get("description"):
        described["description"] = function["description"]
    if strict is not None:
        described["strict"] = strict
    return {"type": "json_schema", "json_schema": described}


def parser_for(schema: dict[str, Any] | type | None, method: StructureMethod) -> Runnable[Any, Any]:
    """The parser that reads an answer given by `method`: into `schema` if it is a class."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        if method == "function_calling":
            return PydanticToolsParser(tools=[schema], first_tool_only=True)
        return PydanticOutputParser(pydantic_object=schema)
    if method == "function_calling" and schema is not None:
        name = convert_to_openai_tool(schema)["function"]["name"]
        return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    return JsonOutputParser()


def with_raw(llm: Runnable[Any, Any], parser: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The chain to `{"raw", "parsed", "parsing_error"}`: an answer that does not parse is kept."""
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")
