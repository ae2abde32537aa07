"""Between our messages and the JSON of the Chat Completions API. No I/O, no state.

Source of the shapes: https://platform.openai.com/docs/api-reference/chat, read in November 2026. What is read is read
leniently, since many servers speak this dialect and few of them all of it.
"""

import logging
from typing import Any

from pydantic import BaseModel, ValidationError

from rtvoice.errors import ChatCompletionError
from rtvoice.llm.chat import ChatInvokeCompletion, ChatInvokeUsage
from rtvoice.llm.messages import (
    AssistantMessage,
    ContentPartImageParam,
    ContentPartRefusalParam,
    ContentPartTextParam,
    Function,
    Message,
    SystemMessage,
    ToolCall,
    ToolResultMessage,
    UserMessage,
)

logger = logging.getLogger(__name__)


def message_to_wire(message: Message) -> dict[str, Any]:
    """Write one message as the API wants it.

    Raises:
        TypeError: It is not a message.
    """
    if isinstance(message, ToolResultMessage):
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    if not isinstance(message, SystemMessage | UserMessage | AssistantMessage):
        raise TypeError(f"messages have to come from rtvoice.llm, got {type(message).__name__}")
    wire: dict[str, Any] = {"role": message.role, "content": _content_to_wire(message.content)}
    if message.name is not None:
        wire["name"] = message.name
    if isinstance(message, AssistantMessage):
        if message.refusal is not None:
            wire["refusal"] = message.refusal
        if message.tool_calls:
            wire["content"] = wire["content"] or None
            wire["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    return wire


def _content_to_wire(content: Any) -> Any:
    if content is None or isinstance(content, str):
        return content
    return [_part_to_wire(part) for part in content]


def _part_to_wire(part: ContentPartTextParam | ContentPartImageParam | ContentPartRefusalParam) -> dict[str, Any]:
    if isinstance(part, ContentPartImageParam):
        # media_type is ours: the API refuses fields that it does not know.
        return {"type": "image_url", "image_url": part.image_url.model_dump(include={"url", "detail"})}
    return part.model_dump()


def read_completion(answer: Any, output_format: type[BaseModel] | None) -> ChatInvokeCompletion[Any]:
    """Read the first choice of an answer.

    Args:
        answer: The decoded JSON.
        output_format: The structure that was asked for.

    Raises:
        ChatCompletionError: It has no choices, or not the structure that was asked for.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not choices:  # some servers report errors with status 200
        raise ChatCompletionError(f"The answer is not a chat completion, but {str(answer)[:300]}")
    message = choices[0].get("message") or {}
    stop_reason = choices[0].get("finish_reason")
    tool_calls = _read_tool_calls(message)
    completion: Any = message.get("content") or message.get("refusal") or ""
    if output_format is not None:
        # A model that calls tools has not answered yet.
        completion = None if tool_calls else _read_structure(message, stop_reason, output_format)
    return ChatInvokeCompletion(
        completion=completion,
        thinking=message.get("reasoning_content"),  # not OpenAI: vLLM, DeepSeek and others
        usage=_read_usage(answer.get("usage")),
        stop_reason=stop_reason,
        tool_calls=tool_calls,
    )


def _read_tool_calls(message: dict[str, Any]) -> list[ToolCall]:
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function")  # not all servers send a type
        if not function:
            logger.warning("Left out a tool call of type %r: only functions can be called", call.get("type"))
            continue
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        calls.append(ToolCall(id=call.get("id") or "", function=Function(name=name, arguments=arguments)))
    return calls


def _read_structure(message: dict[str, Any], stop_reason: str | None, output_format: type[BaseModel]) -> BaseModel:
    name = output_format.__name__
    if refusal := message.get("refusal"):
        raise ChatCompletionError(f"The model refused to give a {name}: {refusal}")
    if stop_reason == "length":
        raise ChatCompletionError(f"The model ran out of tokens before the {name} was complete; raise max_tokens")
    if stop_reason == "content_filter":
        raise ChatCompletionError(f"The server's content filter withheld the {name}")
    try:
        return output_format.model_validate_json(message.get("content") or "")
    except ValidationError as error:
        raise ChatCompletionError(f"The model's answer is not a {name}: {error}") from error


def _read_usage(usage: dict[str, Any] | None) -> ChatInvokeUsage | None:
    if not usage:
        return None
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return ChatInvokeUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=usage.get("total_tokens") or prompt + completion,
        prompt_cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
    )
