"""OpenAI's chat request, written as Gemini's generateContent request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hydra_core.dialects.completion import text_of
from hydra_core.dialects.parts import (
    Call,
    Image,
    Text,
    calls_of,
    chosen_function,
    content_parts,
    functions_of,
    json_object,
    system_text,
)
from hydra_core.dialects.signatures import signature_of, with_signatures

if TYPE_CHECKING:
    from hydra_core.messages import ChatRequest, Message

_RENAMED: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_MODES: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def gemini_body(model: str, request: ChatRequest) -> dict[str, Any]:
    """The JSON of a generateContent request. Parameters that it does not know are left out."""
    params = request.params
    messages = with_signatures(request.messages, model)
    body: dict[str, Any] = {"contents": _contents(messages)}
    system = system_text(request.messages)
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    generation = _generation(request)
    if generation:
        body["generationConfig"] = generation
    functions = [_declaration(function) for function in functions_of(params.get("tools"))]
    if functions:
        body["tools"] = [{"functionDeclarations": functions}]
        body["toolConfig"] = {"functionCallingConfig": _calling(params.get("tool_choice"))}
    extra = params.get("extra_body")
    if isinstance(extra, dict):
        # `thinking` is Claude's word, for which a fallback to it may have been told.
        body.update({name: value for name, value in extra.items() if name != "thinking"})
    return body


def _generation(request: ChatRequest) -> dict[str, Any]:
    params = request.params
    config = {
        theirs: params[ours] for ours, theirs in _RENAMED.items() if params.get(ours) is not None
    }
    if request.max_tokens:
        config["maxOutputTokens"] = request.max_tokens
    stop = params.get("stop")
    if stop:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    wanted = params.get("response_format")
    wanted = wanted if isinstance(wanted, dict) else {}
    if wanted.get("type") in ("json_object", "json_schema"):
        config["responseMimeType"] = "application/json"
        schema = wanted.get("json_schema")
        if isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
            config["responseJsonSchema"] = schema["schema"]
    return config


def _declaration(function: dict[str, Any]) -> dict[str, Any]:
    declared = {"name": function.get("name"), "description": function.get("description") or ""}
    if function.get("parameters"):
        declared["parametersJsonSchema"] = function["parameters"]
    return declared


def _calling(choice: object) -> dict[str, Any]:
    name = chosen_function(choice)
    if name:
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    return {"mode": _MODES.get(choice, "AUTO") if isinstance(choice, str) else "AUTO"}


def _contents(messages: list[Message]) -> list[dict[str, Any]]:
    """Turns of user and model; neighbours of one role are one turn, as results must be."""
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # a result must repeat its function's name
    for message in messages:
        role = message.get("role")
        if role in ("system", "developer"):
            continue
        names.update((call.id, call.name) for call in calls_of(message))
        role = "model" if role == "assistant" else "user"
        parts = _parts(message, names)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(message: Message, names: dict[str, str]) -> list[dict[str, Any]]:
    if message.get("role") == "tool":
        text = text_of(message.get("content"))
        call_id = str(message.get("tool_call_id") or "")
        result = json_object(text)
        response = {
            "name": names.get(call_id) or str(message.get("name") or call_id),
            "response": {"result": text} if result is None else result,
        }
        return [{"functionResponse": response}]
    parts = [_part(part) for part in content_parts(message.get("content"))]
    return parts + [_call(call) for call in calls_of(message)]


def _part(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if part.url:
        return {"fileData": {"fileUri": part.url}}
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}


def _call(call: Call) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"name": call.name, "args": call.arguments}}
    signature = signature_of(call.extra)
    if signature:
        part["thoughtSignature"] = signature
    return part
