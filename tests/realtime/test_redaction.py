import json

import pytest

from rtvoice.realtime import redaction
from rtvoice.realtime.redaction import HIDDEN, SECRET

KEY = "sk-proj-abcdefghijklmnop"


def test_secrets_of_a_url() -> None:
    url = "wss://someone:pass-word-1@host/v1/realtime?model=gpt-realtime-2.1&api-key=0123456789&short=1"
    assert redaction.secrets_of_url(url) == {"pass-word-1", "0123456789"}
    assert redaction.public_url(url) == "wss://host/v1/realtime"


def test_secrets_of_headers() -> None:
    assert redaction.secrets_of_headers({"Authorization": f"Bearer {KEY}", "X": "short"}) == {f"Bearer {KEY}", KEY}


def test_fields_that_carry_credentials() -> None:
    tool = {"type": "mcp", "authorization": "token", "headers": {"X-Key": "1"}, "server_url": "https://host"}
    assert redaction.without_credentials({"session": {"tools": [tool], "api_key": None}}) == {
        "session": {
            "tools": [{"type": "mcp", "authorization": SECRET, "headers": SECRET, "server_url": "https://host"}],
            "api_key": None,
        }
    }


@pytest.mark.parametrize(
    "text",
    ["Incorrect API key provided: sk-abcd****wxyz.", f"the key {KEY}.", "an ek_0123456789abcdef.", "Bearer a.b-c"],
)
def test_what_looks_like_a_key(text: str) -> None:
    assert SECRET in redaction.scrubbed(text)
    assert not any(word in redaction.scrubbed(text) for word in ("wxyz", "proj", "0123", "a.b-c"))


def test_ordinary_words_are_no_key() -> None:
    text = "ask-me-anything, a risk-benefit analysis, bearer of news, task_number_12345678"
    assert redaction.scrubbed(text) == text


def test_without_audio_the_duration_stays() -> None:
    append = {"type": "input_audio_buffer.append", "audio": "AAAA" * 24}
    assert redaction.without_audio(append) == {"type": append["type"], "audio": "", "audio_bytes": 72}
    delta = {"frame": {"type": "response.output_audio.delta", "delta": "AAAAAA=="}}
    assert redaction.without_audio(delta) == {
        "frame": {"type": "response.output_audio.delta", "delta": "", "audio_bytes": 4}
    }
    content = {"item": {"content": [{"type": "input_audio", "audio": "AAAA", "transcript": "Hi"}]}}
    (part,) = redaction.without_audio(content)["item"]["content"]
    assert part == {"type": "input_audio", "audio": "", "audio_bytes": 3, "transcript": "Hi"}
    settings = {"session": {"audio": {"input": {"format": {"type": "audio/pcm"}}}}}
    assert redaction.without_audio(settings) == settings


def test_without_text_only_the_protocol_is_left() -> None:
    frame = {
        "type": "response.done",
        "event_id": "event_1",
        "response": {
            "id": "resp_1",
            "status": "completed",
            "metadata": {"rtvoice_request": "greeting"},
            "output": [
                {"type": "message", "role": "assistant", "content": [{"type": "audio", "transcript": "My secret"}]},
                {"type": "function_call", "name": "look_up", "arguments": '{"who": "Ada"}', "call_id": "call_1"},
            ],
            "instructions": "Be secret",
            "something_new": "secret",
            "empty": "",
        },
        "logprobs": [{"token": "secret", "bytes": [115]}],
    }
    text = json.dumps(redaction.without_text(frame))
    assert "ecret" not in text
    assert "Ada" not in text
    assert "115" not in text
    hidden = redaction.without_text(frame)
    assert hidden["response"]["output"][0]["content"][0] == {"type": "audio", "transcript": HIDDEN}
    assert hidden["response"]["output"][1] == {
        "type": "function_call",
        "name": "look_up",
        "arguments": "{}",
        "call_id": "call_1",
    }
    assert hidden["response"]["metadata"] == {"rtvoice_request": "greeting"}
    assert hidden["response"]["empty"] == ""


def test_without_text_the_sound_stays() -> None:
    delta = {"type": "response.output_audio.delta", "delta": "AAAA"}
    assert redaction.without_text(delta) == delta
    words = {"type": "response.output_audio_transcript.delta", "delta": "AAAA"}
    assert redaction.without_text(words)["delta"] == HIDDEN
    assert redaction.without_text({"type": "input_audio_buffer.append"}) == {"type": "input_audio_buffer.append"}
