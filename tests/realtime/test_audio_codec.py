"""A session that speaks G.711 on the wire, and PCM16 at 24 kHz to the others."""

import base64
import json

from rtvoice.events import AssistantAudioReceivedEvent
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.protocol import RealtimeProtocol


class Doubling:
    """A codec whose wire has one byte where we have two."""

    name = "audio/pcmu"

    def __init__(self) -> None:
        self.streams: list[object] = []

    def encode(self, pcm: bytes) -> bytes:
        return pcm[::2]

    def decode(self, audio: bytes, stream: object) -> bytes:
        self.streams.append(stream)
        return bytes(byte for byte in audio for _ in range(2))


def test_audio_is_translated_both_ways() -> None:
    codec = Doubling()
    protocol = RealtimeProtocol(
        SessionConfig(model="m", turn_detection=None, input_codec=codec, output_codec=codec), lambda: 0.0
    )
    protocol.start()
    first = json.loads(protocol.frames()[0])
    assert first["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert first["session"]["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    appended = json.loads(protocol.append_audio(b"\1\1\2\2"))
    assert base64.b64decode(appended["audio"]) == b"\1\2"
    delta = {
        "type": "response.output_audio.delta",
        "response_id": "r",
        "item_id": "i",
        "content_index": 2,
        "delta": base64.b64encode(b"\3\4").decode(),
    }
    facts = protocol.receive(json.dumps(delta))
    assert [fact.pcm for fact in facts if isinstance(fact, AssistantAudioReceivedEvent)] == [b"\3\3\4\4"]
    assert codec.streams == [("i", 2)]


def test_each_direction_has_its_own_format() -> None:
    protocol = RealtimeProtocol(SessionConfig(model="m", input_codec=Doubling()), lambda: 0.0)
    protocol.start()
    audio = json.loads(protocol.frames()[0])["session"]["audio"]
    assert audio["input"]["format"] == {"type": "audio/pcmu"}
    assert audio["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
