"""`chat`: one question, or a conversation, answered as the words come."""

from __future__ import annotations

import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final, cast

from hydra_core.cli import as_json, exits
from hydra_core.cli.parser import parser
from hydra_core.cli.session import configured, opened
from hydra_core.errors import HydraError
from hydra_core.messages import Chunk

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator

    from hydra_core.cli.session import Session
    from hydra_core.cli.terminal import Terminal
    from hydra_core.messages import Message, ReplyKind

_PROMPT: Final = "> "
_WELCOME: Final = "Ask; Ctrl-D ends, /new forgets what was said."


def chat(args: argparse.Namespace, terminal: Terminal) -> int:
    """Answer once, or as long as there are questions. Raises HydraError for a single one."""
    question = args.question
    if question is None and (args.json or sys.stdin is None or not sys.stdin.isatty()):
        question = "" if sys.stdin is None else sys.stdin.read()
        if not question.strip():
            parser().error("there is no question: give it as an argument or on stdin")
    with opened(configured(args.config)) as session:
        if question is None:
            return _conversation(session, args, terminal)
        if args.json:
            return _whole(session, args, question, terminal)
        _, kind = session.run(_streamed(session, args, _asked(question), terminal))
        return exits.OF_KIND[kind]


def _whole(session: Session, args: argparse.Namespace, question: str, terminal: Terminal) -> int:
    reply = session.run(
        session.hydra.achat(
            question, model=args.model, lane=args.lane, deadline=args.deadline
        )
    )
    terminal.give(as_json.text(reply))
    return exits.OF_KIND[reply.kind]


def _conversation(session: Session, args: argparse.Namespace, terminal: Terminal) -> int:
    """Ask and answer until the input ends; the last answer's kind is the exit status."""
    terminal.say(_WELCOME)
    said: list[Message] = []
    status = exits.FULL
    while (question := _next_question()) is not None:
        if question == "/new":
            said = []
        if not question or question == "/new":
            continue
        try:
            messages = [*said, *_asked(question)]
            answer, kind = session.run(_streamed(session, args, messages, terminal))
        except KeyboardInterrupt:
            terminal.say("\ninterrupted")
            continue
        except HydraError as error:
            terminal.say(f"hydra-llm: {error}")
            status = exits.ERROR
            continue
        status = exits.OF_KIND[kind]
        if kind == "full":
            said = [*messages, {"role": "assistant", "content": answer}]
    return status


def _next_question() -> str | None:
    with suppress(ImportError):  # input() edits lines where readline is there: not on Windows
        import readline  # noqa: F401
    try:
        return input(_PROMPT).strip()
    except EOFError:
        return None


def _asked(question: str) -> list[Message]:
    return [{"role": "user", "content": question}]


async def _streamed(
    session: Session, args: argparse.Namespace, messages: list[Message], terminal: Terminal
) -> tuple[str, ReplyKind]:
    """Show the answer as it comes; gives its text and its kind."""
    text, last = "", Chunk()
    stream = session.hydra.astream(
        messages, model=args.model, lane=args.lane, deadline=args.deadline
    )
    try:
        # What is left open when the output breaks would complain as the loop ends.
        async with aclosing(cast("AsyncGenerator[Chunk]", stream)) as chunks:
            async for last in chunks:
                terminal.show_as_it_comes(last.text)
                text += last.text
    finally:
        if text:
            terminal.show_as_it_comes("\n")
    if last.key is not None:
        terminal.say(f"[{last.key}, {last.model}, {last.kind}]")
    return text, last.kind
