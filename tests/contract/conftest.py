"""What the contract tests share: the client's half of the wire, in one line per event."""

from collections.abc import Callable
from typing import Any

import pytest

from rtvoice.testing import EmulatedSession


def _line(event: dict[str, Any]) -> str:
    match event["type"]:
        case "response.create":
            return f"say {event.get('response', {}).get('instructions', '')}".strip()
        case "conversation.item.create" if event["item"]["type"] == "function_call_output":
            return f"output {event['item']['call_id']}: {event['item']['output']}"
        case "conversation.item.create":
            return f"item {event['item']['role']}: {event['item']['content'][0].get('text', '')}"
        case "session.update" if "tools" in event["session"]:
            return f"tools {' '.join(tool['name'] for tool in event['session']['tools'])}".strip()
    return str(event["type"])


@pytest.fixture
def wire() -> Callable[[EmulatedSession], list[str]]:
    """``wire(session)``: what the client has sent, without its audio."""
    return lambda session: [_line(event) for event in session.received if event["type"] != "input_audio_buffer.append"]
