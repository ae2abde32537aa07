from rtvoice.realtime.backend import SessionBackend
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.protocol import RealtimeProtocol


def test_the_realtime_protocol_is_one() -> None:
    backend: SessionBackend = RealtimeProtocol(SessionConfig(model="m"), lambda: 0.0)

    wanted = {name for name in vars(SessionBackend) if not name.startswith("_")} | set(SessionBackend.__annotations__)
    assert wanted >= {"start", "receive", "send", "append_audio", "frames", "wants_to_send", "deadline", "refusal"}
    assert all(hasattr(backend, name) for name in wanted)
