import base64

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

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

TEXT = ContentPartTextParam(text="one")
IMAGE = ContentPartImageParam(image_url=ImageURL(url="https://example.org/cat.png"))
CALL = ToolCall(id="call_1", function=Function(name="look_up", arguments='{"q": "x"}'))


@pytest.mark.parametrize(
    ("message", "role"),
    [
        (SystemMessage(content="x"), "system"),
        (UserMessage(content="x"), "user"),
        (AssistantMessage(), "assistant"),
        (ToolResultMessage(tool_call_id="1", content="x"), "tool"),
    ],
)
def test_role_and_defaults(message: Message, role: str) -> None:
    assert message.role == role
    assert message.cache is False


def test_field_defaults() -> None:
    assistant = AssistantMessage()
    assert (assistant.content, assistant.name, assistant.refusal, assistant.tool_calls) == (None, None, None, [])
    assert AssistantMessage().tool_calls is not assistant.tool_calls
    assert (IMAGE.type, IMAGE.image_url.detail, IMAGE.image_url.media_type) == ("image_url", "auto", "image/png")
    assert (TEXT.type, CALL.type) == ("text", "function")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (SystemMessage(content="plain"), "plain"),
        (SystemMessage(content=[TEXT, ContentPartTextParam(text="two")]), "one\ntwo"),
        (SystemMessage(content=[]), ""),
        (UserMessage(content="plain"), "plain"),
        (UserMessage(content=[TEXT, IMAGE, ContentPartTextParam(text="two")]), "one\ntwo"),
        (UserMessage(content=[IMAGE]), ""),
        (AssistantMessage(content="plain"), "plain"),
        (AssistantMessage(), ""),
        (AssistantMessage(content=[TEXT, ContentPartRefusalParam(refusal="no")]), "one[Refusal] no"),
    ],
)
def test_text(message: SystemMessage | UserMessage | AssistantMessage, text: str) -> None:
    assert message.text == text


def test_wrong_contents_are_refused() -> None:
    with pytest.raises(ValidationError):
        SystemMessage.model_validate({"content": [{"type": "image_url", "image_url": {"url": "x"}}]})
    with pytest.raises(ValidationError):
        ImageURL.model_validate({"url": "x", "detail": "huge"})


def test_a_history_survives_json() -> None:
    history = TypeAdapter(list[Message])
    messages: list[Message] = [
        SystemMessage(content="x"),
        UserMessage(content=[TEXT, IMAGE]),
        AssistantMessage(content="y", tool_calls=[CALL]),
        ToolResultMessage(tool_call_id="call_1", content="z"),
    ]
    assert history.validate_json(history.dump_json(messages)) == messages


DATA = "data:image/png;base64," + base64.b64encode(b"\x00secret pixels" * 10_000).decode()


@pytest.mark.parametrize(
    "shown",
    [
        UserMessage(content=[ContentPartImageParam(image_url=ImageURL(url=DATA))] * 50),
        ImageURL(url=DATA),
        AssistantMessage(tool_calls=[ToolCall(id="1", function=Function(name="f", arguments="x" * 10_000))] * 50),
        Function(name="f", arguments="x" * 10_000),
        ToolResultMessage(tool_call_id="1", content="y" * 10_000),
        SystemMessage(content="z" * 10_000),
    ],
    ids=lambda shown: type(shown).__name__,
)
@pytest.mark.parametrize("show", [str, repr])
def test_shown_briefly(shown: BaseModel, show: type) -> None:
    text = show(shown)
    assert len(text) < 400
    assert DATA[30:60] not in text


def test_shown_is_what_differs_from_the_default() -> None:
    assert repr(UserMessage(content="Hello")) == "UserMessage(content='Hello')"
    assert repr(CALL) == """ToolCall(id='call_1', function=Function(name='look_up', arguments='{"q": "x"}'))"""
    assert str(ImageURL(url=DATA)) == f"url='data:image/png;base64,... ({len(DATA)} characters)'"
    assert (
        repr(ImageURL(url="https://x.org/a.png", detail="low")) == "ImageURL(url='https://x.org/a.png', detail='low')"
    )
