import asyncio

import pytest

from rtvoice.cli.doctor.network import check_service
from rtvoice.testing import Delays, Faults, RealtimeEmulator, StartRefusal
from rtvoice.testing.faults import BAD_KEY, model_not_found

pytestmark = pytest.mark.virtual_clock


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")


async def test_the_service_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RealtimeEmulator() as server:
        finding = await check_service(server.base_url, "gpt-realtime-2.1")
    assert (finding.status, finding.remedy) == ("ok", "")
    assert finding.details["host"] == "127.0.0.1"
    assert "connected in" in finding.message
    assert server.sessions[0].types("received").count("session.update") == 1
    assert "response.create" not in server.sessions[0].types("received")


async def test_the_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with RealtimeEmulator() as server:
        finding = await check_service(server.base_url, None)
    assert "127.0.0.1 through the proxy of ALL_PROXY accepts" in finding.message


async def test_a_slow_service() -> None:
    async with RealtimeEmulator(faults=Faults(delays=Delays(burst_ms=4000))) as server:
        finding = await check_service(server.base_url, None)
    assert finding.status == "warning"


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (BAD_KEY, "refuses the key"),
        (StartRefusal(http_status=401), "refuses the key"),
        (model_not_found("gpt-9"), "gpt-9"),
    ],
)
async def test_a_refusal(refusal: StartRefusal, words: str) -> None:
    async with RealtimeEmulator() as server:
        server.refuse(refusal)
        finding = await check_service(server.base_url, "gpt-9")
    assert finding.status == "problem"
    assert words in finding.message
    assert finding.remedy
    assert "secret-key" not in str(finding)


async def test_nobody_there() -> None:
    async with RealtimeEmulator() as server:
        url = server.base_url
    finding = await check_service(url, None)
    assert finding.status == "problem"
    assert "No session with 127.0.0.1" in finding.message


async def test_nobody_answers() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    finding = await check_service(f"ws://127.0.0.1:{port}/v1", None)
    server.close()
    await server.wait_closed()
    assert finding.status == "problem"
    assert finding.remedy


async def test_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    finding = await check_service(None, None)
    assert finding.status == "problem"
    assert "OPENAI_API_KEY" in finding.remedy
