import logging
from typing import Any

import pytest
from pydantic import BaseModel

from rtvoice.errors import ChatCompletionError
from rtvoice.llm import (
    AssistantMessage,
    ContentPartImageParam,
    ContentPartTextParam,
    Function,
    ImageURL,
    Message,
    SystemMessage,
    ToolCall,
    ToolResultMessage,
    UserMessage,
)
from rtvoice.llm.messages import ContentPartRefusalParam
from rtvoice.llm.wire import message_to_wire, read_completion

TEXT = ContentPartTextParam(text="one")
IMAGE = ContentPartImageParam(image_url=ImageURL(url="https://x.org/a.png", detail="low", media_type="image/webp"))
CALL = ToolCall(id="c1", function=Function(name="f", arguments="{}"))
WIRE_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


class City(BaseModel):
    name: str


def answer(content: str | None = None, *, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": finish, "message": {"content": content, **message}}]}


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (SystemMessage(content="s", name="n", cache=True), {"role": "system", "content": "s", "name": "n"}),
        (SystemMessage(content=[TEXT]), {"role": "system", "content": [{"type": "text", "text": "one"}]}),
        (UserMessage(content=""), {"role": "user", "content": ""}),
        (
            UserMessage(content=[TEXT, IMAGE]),
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "one"},
                    {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "low"}},
                ],
            },
        ),
        (AssistantMessage(content="a"), {"role": "assistant", "content": "a"}),
        (
            AssistantMessage(content="", tool_calls=[CALL]),
            {"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]},
        ),
        (
            AssistantMessage(content="wait", tool_calls=[CALL]),
            {"role": "assistant", "content": "wait", "tool_calls": [WIRE_CALL]},
        ),
        (
            AssistantMessage(content=[ContentPartRefusalParam(refusal="no")], refusal="never"),
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "refusal": "never"},
        ),
        (
            ToolResultMessage(tool_call_id="c1", content="42"),
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ),
    ],
)
def test_messages(message: Message, wire: dict[str, Any]) -> None:
    assert message_to_wire(message) == wire


def test_only_messages_are_written() -> None:
    with pytest.raises(TypeError, match=r"rtvoice\.llm, got dict"):
        message_to_wire({"role": "user"})  # type: ignore[arg-type]


def test_reads_text_thoughts_and_usage() -> None:
    body = answer("Hi", reasoning_content="hm") | {
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 2,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 8},
        }
    }
    read = read_completion(body, None)
    assert (read.completion, read.thinking, read.stop_reason, read.tool_calls) == ("Hi", "hm", "stop", [])
    assert read.usage is not None
    assert read.usage.model_dump() == {
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "total_tokens": 12,
        "prompt_cached_tokens": 8,
    }


def test_reads_sparse_answers() -> None:
    read = read_completion({"choices": [{}], "usage": {"prompt_tokens": 3, "prompt_tokens_details": None}}, None)
    assert (read.completion, read.stop_reason, read.tool_calls) == ("", None, [])
    assert read.usage is not None
    assert (read.usage.total_tokens, read.usage.prompt_cached_tokens) == (3, None)


def test_a_refusal_is_the_answer() -> None:
    assert read_completion(answer(None, refusal="I won't"), None).completion == "I won't"


def test_reads_function_calls_only(caplog: pytest.LogCaptureFixture) -> None:
    custom = {"id": "c2", "type": "custom", "custom": {"name": "sql", "input": "secret"}}
    sparse = {"function": {"name": "g"}}
    with caplog.at_level(logging.DEBUG):
        read = read_completion(answer(None, tool_calls=[WIRE_CALL, custom, sparse]), None)
    assert read.tool_calls == [CALL, ToolCall(id="", function=Function(name="g", arguments=""))]
    assert "'custom'" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"error": {"message": "quota"}}, [], "quota", None])
def test_what_is_no_completion(body: Any) -> None:
    with pytest.raises(ChatCompletionError, match="not a chat completion") as caught:
        read_completion(body, None)
    assert len(str(caught.value)) < 400
    assert ("quota" in str(body)) == ("quota" in str(caught.value))


def test_reads_a_structure() -> None:
    assert read_completion(answer('{"name": "Paris"}'), City).completion == City(name="Paris")
    assert read_completion(answer("", tool_calls=[WIRE_CALL]), City).completion is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (answer(refusal="not that"), "refused to give a City: not that"),
        (answer('{"na', finish="length"), "ran out of tokens before the City was complete; raise max_tokens"),
        (answer(None, finish="content_filter"), "content filter withheld the City"),
        (answer('{"name": 5}'), "not a City.*name"),
        (answer("Paris"), "not a City"),
        (answer(None), "not a City"),
    ],
)
def test_failed_structures(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ChatCompletionError, match=f"(?s){message}"):
        read_completion(body, City)
