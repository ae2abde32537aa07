"""The server: addresses, credentials, models, several sessions, and its own end."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from rtvoice.testing import RealtimeEmulator, Reply, ReplyRequest
from rtvoice.testing.emulator import DEFAULT_KEY


async def closing(dial: Any, server: RealtimeEmulator, **options: Any) -> tuple[int, str]:
    async with dial(server, **options) as client:
        errors = await client.until_closed()
        assert client.types() == ["error"]
        assert len(errors) == 1
        code, reason = client.closing
        assert reason == f"{errors[0]['error']['type']}.{errors[0]['error']['code']}"
        return code, errors[0]["error"]["code"]


async def status(server: RealtimeEmulator, url: str, headers: dict[str, str] | None = None) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, additional_headers=headers):
            pass
    return refused.value.response.status_code


async def test_addresses() -> None:
    async with RealtimeEmulator() as server:
        provider = server.provider
        assert server.url.startswith("ws://127.0.0.1:")
        assert server.url == f"{server.base_url}/realtime"
        assert provider.build_url("gpt realtime/x") == f"{server.url}?model=gpt%20realtime/x"
        assert provider.build_headers() == {"Authorization": f"Bearer {DEFAULT_KEY}"}
        assert "/openai/v1/realtime?model=m" in server.azure_provider.build_url("m")


@pytest.mark.parametrize("place", ["bearer", "api-key", "query", "subprotocol"])
async def test_credentials_are_found_wherever_they_may_stand(place: str) -> None:
    async with RealtimeEmulator(api_key="secret") as server:
        url = server.provider.build_url("gpt-realtime-2.1")
        options: dict[str, Any] = {
            "bearer": {"additional_headers": {"Authorization": "Bearer secret"}},
            "api-key": {"additional_headers": {"api-key": "secret"}},
            "query": {},
            "subprotocol": {"subprotocols": ["realtime", "openai-insecure-api-key.secret"]},
        }[place]
        async with connect(url + ("&api-key=secret" if place == "query" else ""), **options) as ws:
            assert json.loads(await ws.recv())["type"] == "session.created"
            assert ws.subprotocol == ("realtime" if place == "subprotocol" else None)


async def test_credentials_that_are_missing_or_wrong(dial: Any) -> None:
    async with RealtimeEmulator(api_key="secret") as server:
        url, azure = server.provider.build_url("m"), server.azure_provider.build_url("m")
        assert await status(server, url) == 401
        assert await status(server, azure, {"api-key": "wrong"}) == 401
        wrong = {"Authorization": "Bearer wrong"}
        assert await closing(dial, server, additional_headers=wrong) == (3000, "invalid_api_key")
        async with dial(server, url=azure) as client:
            await client.until("session.created")


async def test_other_paths_do_not_exist() -> None:
    async with RealtimeEmulator() as server:
        assert await status(server, f"{server.base_url}/live/sessions") == 404


async def test_models(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        assert await closing(dial, server, model="gpt-4o-realtime-preview-2024-12-17") == (4004, "model_not_found")
        assert await closing(dial, server, url=server.url) == (4000, "missing_model")
        async with dial(server, model="anything-else") as client:
            await client.until("session.created")
    async with RealtimeEmulator(models=["mine"]) as server:
        assert await closing(dial, server, model="yours") == (4004, "model_not_found")
        async with dial(server, model="mine") as client:
            await client.until("session.created")


async def test_the_beta_is_over(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        headers = {**server.provider.build_headers(), "OpenAI-Beta": "realtime=v1"}
        assert await closing(dial, server, additional_headers=headers) == (4000, "beta_api_shape_disabled")


async def test_transcription_sessions_take_no_model(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        url = f"{server.url}?intent=transcription"
        assert await closing(dial, server, url=f"{url}&model=whisper-1") == (4000, "invalid_value")
        async with dial(server, url=url) as client:
            created = await client.until("session.created")
            assert created["session"]["type"] == "transcription"


async def test_several_sessions_share_the_script_but_nothing_else(dial: Any) -> None:
    async with RealtimeEmulator(["One.", "Two."]) as server, dial(server) as first, dial(server) as second:
        assert await server.connected() is server.sessions[0]
        assert await server.connected() is server.sessions[1] is server.current
        for client, text in ((second, "One."), (first, "Two.")):
            await client.send("response.create", response={"output_modalities": ["text"]})
            done = (await client.until("response.done"))["response"]
            assert done["output"][0]["content"][0]["text"] == text
        ids = [event["event_id"] for client in (first, second) for event in client.events]
        assert len(set(ids)) == len(ids)
        assert [len(session.items) for session in server.sessions] == [1, 1]
        await server.received("response.create")
        await server.received("response.create")
        assert (await server.sent("response.done"))["response"]["output"][0]["content"][0]["text"] == "One."


@pytest.mark.virtual_clock
async def test_nobody_has_connected() -> None:
    async with RealtimeEmulator() as server:
        with pytest.raises(RuntimeError, match="no client has connected yet"):
            _ = server.current
        with pytest.raises(TimeoutError, match=r"no \(further\) client connected within 3 s"):
            await server.connected(timeout=3)


async def test_scripts_can_grow(dial: Any) -> None:
    async with RealtimeEmulator() as server, dial(server) as client:
        server.add_replies("Later.", Reply("Last."))
        server.add_transcripts("Hello.")
        await client.update(audio={"input": {"turn_detection": None, "transcription": {"model": "gpt-transcribe"}}})
        await client.append(bytes(4800))
        await client.send("input_audio_buffer.commit")
        done = await client.until("conversation.item.input_audio_transcription.completed")
        assert done["transcript"] == "Hello."
        await client.send("response.create")
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "Later."


async def test_the_host_goes_down_and_comes_back(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        url = server.url
        async with dial(server) as client:
            await client.until("session.created")
            await server.stop_listening()
            with pytest.raises(OSError):
                async with dial(server):
                    pass
            await client.send("input_audio_buffer.clear")
            await client.until("input_audio_buffer.cleared")
            await server.listen()
            assert server.url == url
            async with dial(server) as second:
                await second.until("session.created")


def broken(_request: ReplyRequest) -> str:
    raise ZeroDivisionError("my script is broken")


async def converse(dial: Any, server: RealtimeEmulator, *, sessions: int = 1, then: Exception | None = None) -> None:
    async with server:
        for _ in range(sessions):
            async with dial(server) as client:
                await client.send("response.create")
                await client.until_closed()
                assert client.closing == (4500, "the emulator or its script failed")
        if then is not None:
            raise then


async def test_an_error_in_a_script_reaches_the_test(dial: Any) -> None:
    with pytest.raises(ZeroDivisionError, match="my script is broken"):
        await converse(dial, RealtimeEmulator(broken))


async def test_several_errors_come_together(dial: Any) -> None:
    with pytest.raises(ExceptionGroup, match="the emulator failed") as failed:
        await converse(dial, RealtimeEmulator(broken), sessions=2)
    assert [type(error) for error in failed.value.exceptions] == [ZeroDivisionError] * 2


async def test_the_tests_own_error_wins_and_mentions_the_other(dial: Any) -> None:
    with pytest.raises(LookupError, match="mine") as failed:
        await converse(dial, RealtimeEmulator(broken), then=LookupError("mine"))
    assert failed.value.__notes__ == ["The emulator failed, too: ZeroDivisionError('my script is broken')"]


async def test_clients_that_are_still_there_at_the_end_are_told(dial: Any) -> None:
    async with RealtimeEmulator() as server:
        ws = await connect(
            server.provider.build_url("gpt-realtime-2.1"), additional_headers=server.provider.build_headers()
        )
        await server.connected()
    await ws.wait_closed()
    assert ws.close_code == 1001


@pytest.mark.virtual_clock
async def test_a_client_that_does_not_answer_is_cut_off() -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator(close_timeout_s=2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))
        writer.write(
            b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Authorization: Bearer k\r\n\r\n"
        )
        session = await server.connected()
        ended = loop.time()
    assert loop.time() - ended <= 4.1
    assert session.closed
    writer.close()
    assert (await reader.read())[:12] == b"HTTP/1.1 101"


async def test_nothing_is_left_behind(dial: Any) -> None:
    before = asyncio.all_tasks()
    async with RealtimeEmulator(["x" * 3000]) as server:
        for _ in range(3):
            async with dial(server) as client:
                await client.send("response.create")
                await client.until("response.created")
                client.ws.transport.abort()
    assert asyncio.all_tasks() == before


async def test_stopping_before_starting_does_nothing() -> None:
    await RealtimeEmulator().stop_listening()


async def test_a_fixed_port_and_a_name(dial: Any) -> None:
    async with RealtimeEmulator(host="localhost") as server:
        port = int(server.base_url.removesuffix("/v1").rpartition(":")[2])
        assert server.base_url == f"ws://localhost:{port}/v1"
        with pytest.raises(OSError, match="in use"):
            await RealtimeEmulator(host="127.0.0.1", port=port).listen()
    async with RealtimeEmulator(port=port) as server, dial(server) as client:
        assert server.url == f"ws://127.0.0.1:{port}/v1/realtime"
        await client.until("session.created")


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "127.0.0.1:0"), ("::", "[::1]:0"), ("::1", "[::1]:0")])
def test_an_address_that_can_be_dialled(host: str, address: str) -> None:
    assert RealtimeEmulator(host=host).base_url == f"ws://{address}/v1"


async def test_without_records_nothing_is_kept(dial: Any, caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: ReplyRequest) -> str:
        raise LookupError("broken")

    async with RealtimeEmulator(broken, keep_records=False) as server:
        async with dial(server) as client:
            await client.append(bytes(48 * 200))
            await client.say("Hi.")
            await client.until("conversation.item.done")
            (session,) = server.sessions
            assert (session.sent, session.received, session.user_audio) == ([], [], b"")
            await client.send("response.create")
            await client.until_closed()
            assert client.closing == (4500, "the emulator or its script failed")
        await session.wait_closed()
        while server.sessions:
            await asyncio.sleep(0)
    assert "A session failed" in caplog.text
    assert "LookupError: broken" in caplog.text
