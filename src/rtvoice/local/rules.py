"""Replies without a language model: by rules that match words, and that say so when they do not know."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from rtvoice.local.arguments import find_arguments, find_value
from rtvoice.local.words import content_stems, tokens
from rtvoice.testing.script import ReplyRequest, ToolCall

WHAT_I_AM: Final = (
    "I am the rule engine of rtvoice, not a language model: I match words with the tools I was given, and understand "
    "nothing else."
)
_DO_NOT_KNOW: Final = "I do not know what to do with that."
_NOT_HEARD: Final = "I did not catch any words. Could you say that again?"
_HERE: Final = "Hello! What can I do for you?"
_QUESTION: Final = "For that I need to know: "
_NAME_WEIGHT: Final = 2.0
_ENOUGH: Final = 2.0
"""Weight of the words that have to fit: one of the tool's name, or two of its description or parameters."""

_SMALL_TALK: Final = (
    (frozenset({"hello", "hi", "hey"}), 3, _HERE),
    (frozenset({"thanks", "thank"}), 6, "You are welcome."),
    (frozenset({"bye", "goodbye"}), 4, "Goodbye!"),
    (frozenset({"stop", "quiet", "enough"}), 3, "All right."),
)
"""Words, the longest sentence in which they mean that alone, and the answer."""
_ABOUT_ME: Final = (("who", "you"), ("what", "you"), ("help",), ("you", "do"), ("who", "talking"), ("talking", "to"))


class RuleReplies:
    """A ``ReplyEngine`` that calls the session's tools for simple requests.

    The tool is the one whose name, description and parameters share most words with what the user said; its arguments
    are the numbers, the choices and the phrases of the sentence. What is missing is asked for. What a tool returns is
    read out. Everything else is answered honestly: that these are rules, and what they can do.
    """

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[str | ToolCall, None]:
        """Answer by the rules."""
        results = " ".join(read_out(output) for output in _unread_outputs(request))
        messages = [item for item in request.items if item["type"] == "message"]
        if messages and messages[-1]["role"] == "user" and not _is_answered(request.items):
            if results:
                yield f"{results} "
            yield self._answer(request, messages)
        else:
            yield results or _HERE

    def _answer(self, request: ReplyRequest, messages: Sequence[Mapping[str, Any]]) -> str | ToolCall:
        if not request.user_text.strip():
            return _NOT_HEARD
        tools = [tool for tool in request.tools if tool["type"] == "function"]
        if request.tool_choice != "none":
            call = _answer_to_question(tools, messages) or _call(_wanted(request.tool_choice, tools), request.user_text)
            if call is not None:
                return call
        introduced = any(WHAT_I_AM in _text(message) for message in messages if message["role"] == "assistant")
        return _in_words(request.user_text, tools, introduced=introduced)


def _unread_outputs(request: ReplyRequest) -> list[str]:
    """Return what tools returned and nobody has read out.

    A phrase that filled the wait may stand behind an output that came while it was spoken.
    """
    unread: dict[str, str] = {}
    for item in request.items:
        if item["type"] == "function_call_output":
            unread[item["call_id"]] = item["output"]
        elif item.get("role") == "user":
            unread = {}
        elif item.get("role") == "assistant":
            unread = {call_id: output for call_id, output in unread.items() if read_out(output) not in _text(item)}
    return list({**request.function_outputs, **unread}.values())


def _is_answered(items: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what the user said last was answered with a call of a tool."""
    kinds = ["user" if item.get("role") == "user" else item["type"] for item in items]
    return "function_call" in kinds[max(at for at, kind in enumerate(kinds) if kind == "user") :]


def _wanted(tool_choice: Any, tools: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    name = tool_choice.get("name") if isinstance(tool_choice, Mapping) else None
    return tools if name is None else [tool for tool in tools if tool["name"] == name]


def _call(tools: Sequence[Mapping[str, Any]], sentence: str) -> str | ToolCall | None:
    """Return the call that a sentence asks for, a question for what is missing, or ``None``."""
    tool = best_tool(tools, sentence)
    if tool is None:
        return None
    arguments = find_arguments(tool, sentence)
    if arguments.missing:
        return _question(arguments.missing[0])
    return ToolCall(tool["name"], arguments.values)


def _question(parameter: str) -> str:
    return f"{_QUESTION}{' '.join(tokens(parameter)).lower()}?"


def _answer_to_question(
    tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]
) -> str | ToolCall | None:
    """Return the call for which the last thing the assistant asked is answered now."""
    if len(messages) < 3 or messages[-2]["role"] != "assistant" or _QUESTION not in _text(messages[-2]):
        return None
    asked, answer = _text(messages[-3]), _text(messages[-1])
    tool = best_tool(tools, asked)
    if tool is None:
        return None
    arguments = find_arguments(tool, asked)
    if not arguments.missing or _question(arguments.missing[0]) != _text(messages[-2]).strip():
        return None
    name, *others = arguments.missing
    value = find_value(tool, name, answer)
    if value is None:
        return None
    arguments.values[name] = value
    for other in others:
        arguments.values[other] = find_arguments(tool, answer).values.get(other)
        if arguments.values[other] is None:
            return "That is more than I can keep in mind: please say it all in one sentence."
    return ToolCall(tool["name"], arguments.values)


def best_tool(tools: Sequence[Mapping[str, Any]], sentence: str) -> Mapping[str, Any] | None:
    """Return the tool that a sentence asks for, if there is one.

    Words that several tools share count less.

    Args:
        tools: Function tools as a session has them.
        sentence: What the user said.
    """
    said = content_stems(sentence)
    vocabularies = [_vocabulary(tool) for tool in tools]
    best, most = None, 0.0
    for tool, vocabulary in zip(tools, vocabularies, strict=True):
        weight = sum(vocabulary.get(word, 0.0) for word in said)
        shared = sum(
            vocabulary.get(word, 0.0) / sum(word in other for other in vocabularies)
            for word in said
            if word in vocabulary
        )
        if weight >= _ENOUGH and shared > most:
            best, most = tool, shared
    return best


def _vocabulary(tool: Mapping[str, Any]) -> dict[str, float]:
    properties = (tool.get("parameters") or {}).get("properties") or {}
    texts = [tool.get("description") or "", *properties]
    texts += [str(choice) for parameter in properties.values() for choice in parameter.get("enum", ())]
    weights = dict.fromkeys(content_stems(" ".join(texts)), 1.0)
    return weights | dict.fromkeys(content_stems(tool["name"]), _NAME_WEIGHT)


def _in_words(sentence: str, tools: Sequence[Mapping[str, Any]], *, introduced: bool) -> str:
    words = [word.lower() for word in tokens(sentence)]
    for marks, longest, answer in _SMALL_TALK:
        if marks.intersection(words) and len(words) <= longest:
            return answer
    is_about_me = any(all(mark in words for mark in marks) for marks in _ABOUT_ME)
    sentences = [] if is_about_me else [_DO_NOT_KNOW]
    sentences += [WHAT_I_AM] if is_about_me or not introduced else []
    return " ".join([*sentences, _abilities(tools)])


def _abilities(tools: Sequence[Mapping[str, Any]]) -> str:
    if not tools:
        return "I was given no tools."
    described = [(tool.get("description") or " ".join(tokens(tool["name"]))).split("\n")[0].strip() for tool in tools]
    return f"What I can do: {'; '.join(text.rstrip('.') for text in described)}."


def _text(message: Mapping[str, Any]) -> str:
    return " ".join(part.get("text") or part.get("transcript") or "" for part in message["content"])


def read_out(output: str) -> str:
    """Return the output of a tool as a sentence: data without its punctuation."""
    try:
        data = json.loads(output)
    except ValueError:
        data = output
    words = _in_speech(data).strip()
    if words in ("", "OK"):
        return "Done."
    if words.startswith("Error"):
        return f"That did not work. {_sentence(words.removeprefix('Error').lstrip(': '))}".strip()
    return _sentence(words)


def _sentence(words: str) -> str:
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "!", "?")) or not words else f"{words}."


def _in_speech(data: Any) -> str:
    if isinstance(data, Mapping):
        return ", ".join(f"{' '.join(tokens(str(key)))}: {_in_speech(value)}" for key, value in data.items())
    if isinstance(data, list):
        return ", ".join(_in_speech(value) for value in data)
    if isinstance(data, bool):
        return "yes" if data else "no"
    return "nothing" if data is None else str(data)
