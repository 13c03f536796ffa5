"""Tools and structured output, asked for as the caller meant it.

LlamaIndex's OpenAI class appends to the caller's chat history, sends fields that
only OpenAI knows with every tool, and lets a structured stream answer in prose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.program.utils import get_program_for_llm
from llama_index.core.types import PydanticProgramMode
from llama_index.llms.openai.utils import resolve_tool_choice
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from llama_index.core.prompts import PromptTemplate
    from llama_index.core.tools.types import BaseTool
    from llama_index.core.types import BasePydanticProgram
    from pydantic import BaseModel

_TOOL_MODES: Final = frozenset({PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION})


class ToolCalling(OpenAILike):  # type: ignore[misc]  # it is untyped
    """An OpenAILike whose tool calls and structured streams keep to what was asked."""

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The arguments of a chat with tools; the caller's history is left as it was.

        Fields that not every server knows (`strict`, `parallel_tool_calls`) are
        sent only where leaving them out would change the meaning.
        """
        messages = list(chat_history or ())
        if user_msg:
            messages.append(
                ChatMessage(role=MessageRole.USER, content=user_msg)
                if isinstance(user_msg, str)
                else user_msg
            )
        if not tools:
            return {"messages": messages, **kwargs}
        strict = self.strict if strict is None else strict
        prepared = {
            "messages": messages,
            "tools": [_tool(tool, strict=strict) for tool in tools],
            "tool_choice": resolve_tool_choice(tool_choice, tool_required),
        }
        if len(tools) > 1 and not allow_parallel_tool_calls:
            prepared["parallel_tool_calls"] = False
        return {**prepared, **kwargs}

    def _prepare_schema(
        self, llm_kwargs: dict[str, Any] | None, output_cls: type[BaseModel]
    ) -> dict[str, Any]:
        prepared: dict[str, Any] = super()._prepare_schema(dict(llm_kwargs or {}), output_cls)
        return prepared

    def _structured_stream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        if self._should_use_structure_outputs():
            yield from super()._structured_stream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return
        program = self._tool_program(output_cls, prompt)
        yield from program.stream_call(llm_kwargs=dict(llm_kwargs or {}), **prompt_args)

    async def _structured_astream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        if self._should_use_structure_outputs():
            responses: AsyncGenerator[Any, None] = await super()._structured_astream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return responses
        program = self._tool_program(output_cls, prompt)
        return await program.astream_call(llm_kwargs=dict(llm_kwargs or {}), **prompt_args)

    def _tool_program(
        self, output_cls: type[BaseModel], prompt: PromptTemplate
    ) -> BasePydanticProgram[BaseModel]:
        """A program that insists on the tool: LlamaIndex's own lets a stream answer in prose."""
        by_tool = self.pydantic_program_mode in _TOOL_MODES and self.is_function_calling_model
        return get_program_for_llm(
            output_cls,
            prompt,
            self,
            pydantic_program_mode=self.pydantic_program_mode,
            **({"tool_choice": "required"} if by_tool else {}),
        )


def _tool(tool: BaseTool, *, strict: bool) -> dict[str, Any]:
    spec: dict[str, Any] = tool.metadata.to_openai_tool(skip_length_check=True)
    if strict:
        spec["function"]["strict"] = True
        spec["function"]["parameters"]["additionalProperties"] = False
    return spec
