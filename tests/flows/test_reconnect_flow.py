"""A lost connection is restored: what is told again, what is asked for, and when the agent gives up."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from rtvoice import ReconnectPolicy, Tools
from rtvoice.events import (
    AgentReconnectingEvent,
    RequestResponseCommand,
    UpdateSessionToolsCommand,
    UpdateToolChoiceCommand,
)
from rtvoice.settings import ConversationSeed
from rtvoice.testing import EmulatedSession, Faults, Hold, RealtimeEmulator, Reply, StartRefusal, ToolCall
from rtvoice.testing.emulator import EmulatorProvider
from rtvoice.testing.faults import BAD_KEY, NO_QUOTA, model_not_found

pytestmark = pytest.mark.virtual_clock

LONG = "This is the beginning of a long story. " * 10
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOKEN_EXPIRED = StartRefusal(
    error={"type": "invalid_request_error", "code": None, "message": "Ephemeral token expired", "event_id": None},
    close_code=1011,
)


def known(session: EmulatedSession) -> list[str]:
    """What a session on the server knows of the conversation."""
    return [_line(item) for item in session.items]


def _line(item: dict[str, Any]) -> str:
    match item["type"]:
        case "function_call":
            return f"call {item['call_id']} {item['name']} {item['arguments']}"
        case "function_call_output":
            return f"output {item['call_id']} {item['output']}"
    texts = [part.get("text") or part.get("transcript") or f"<{part['type']}>" for part in item["content"]]
    return f"{item['role']}: {' '.join(texts)}"


def requests(session: EmulatedSession) -> list[str]:
    """The instructions of all responses that were asked for."""
    creates = [event for event in session.received if event["type"] == "response.create"]
    return [event.get("response", {}).get("instructions", "") for event in creates]


def raw_user_turn(session: EmulatedSession, transcript: str | None = None, *, finished: bool = True) -> None:
    """Let the server report a turn of the user without answering it."""
    session.send({"type": "input_audio_buffer.speech_started", "item_id": "u1", "audio_start_ms": 0})
    if not finished:
        return
    session.send({"type": "input_audio_buffer.speech_stopped", "item_id": "u1", "audio_end_ms": 900})
    session.send({"type": "input_audio_buffer.committed", "item_id": "u1", "previous_item_id": None})
    if transcript is not None:
        session.send(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "item_id": "u1",
                "content_index": 0,
                "transcript": transcript,
            }
        )


async def settle(seconds: float = 1.0) -> None:
    """Let everything happen that follows by itself; costs no time on the virtual clock."""
    await asyncio.sleep(seconds)


# --- which losses ------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[[EmulatedSession], None]] = {
    "1001 going away": lambda session: session.close(1001, "going away"),
    "1006 broken": lambda session: session.drop(),
    "1011 internal error": lambda session: session.close(1011, "internal error"),
    "1012 restart": lambda session: session.close(1012, "service restart"),
    "1013 try again": lambda session: session.close(1013, "try again later"),
    "session expired": lambda session: session.expire(),
    "silence": lambda session: session.go_silent(),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES.keys())
async def test_a_loss_between_turns(converse: Any, lose: Callable[[EmulatedSession], None]) -> None:
    async with RealtimeEmulator(["Hello to you.", "I am fine."], detect_speech=False) as server:
        async with converse(server) as conversation:
            listener, first = conversation.listener, await server.connected()
            await conversation.agent.send_message("Hello.")
            await listener.wait_for("assistant_stopped_responding")
            lose(first)
            async with asyncio.timeout(200):
                second = await server.connected(timeout=150)
            await listener.wait_for("agent_reconnected")
            await settle()
            assert known(second) == ["user: Hello.", "assistant: Hello to you."]
            assert requests(second) == []  # nobody waits for an answer
            await conversation.agent.send_message("How are you?")
            await listener.wait_for("assistant_stopped_responding", 2)
            assert known(second)[2:] == ["user: How are you?", "assistant: I am fine."]
            first.drop()
        names = listener.names
        assert names.index("agent_reconnecting") < names.index("agent_reconnected")
        assert listener.all("agent_reconnecting") == [1]
        (restored,) = listener.all("agent_reconnected")
        assert (restored.items, restored.lost_user_turns) == (2, 0)
        assert listener.all("agent_error") == []
        assert [turn.text for turn in conversation.result.turns] == [
            "Hello.", "Hello to you.", "How are you?", "I am fine.",
        ]  # fmt: skip


async def test_a_session_that_expires_by_itself(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False, session_length_s=60) as server, converse(server) as conversation:
        await conversation.listener.wait_for("agent_session_connected")
        await settle(200)
        assert len(server.sessions) == 4
        assert conversation.listener.all("agent_reconnecting") == [1, 1, 1]
        assert "maximum duration" in conversation.listener.calls[-2][2]
        assert conversation.listener.all("agent_error") == []


async def test_a_server_that_closes_normally_has_ended_the_conversation(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await server.sent("session.updated")
        server.current.close(1000)
        await asyncio.wait([conversation.running])
        assert conversation.listener.names[-1] == "agent_stopped"
        assert not {"agent_error", "agent_reconnecting"} & set(conversation.listener.names)


FATAL = {
    "key": (3000, "invalid_request_error.invalid_api_key"),
    "quota": (1013, "insufficient_quota.insufficient_quota"),
    "model": (4004, "invalid_request_error.model_not_found"),
}


@pytest.mark.parametrize(("code", "reason"), FATAL.values(), ids=FATAL.keys())
async def test_some_closes_are_final(converse: Any, code: int, reason: str) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await server.sent("session.updated")
        await settle()
        server.current.close(code, reason)
        await asyncio.wait([conversation.running])
        (error,) = conversation.listener.all("agent_error")
        assert error.type == "connection_closed"
        assert reason in error.message
        assert "agent_reconnecting" not in conversation.listener.names
        assert conversation.result.turns == []
        assert len(server.sessions) == 1


async def test_the_error_event_decides_rather_than_the_close_code(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await server.sent("session.updated")
        await settle()
        server.current.send_error("insufficient_quota", "You exceeded your current quota.")
        server.current.close(1011, "")
        await asyncio.wait([conversation.running])
        assert conversation.listener.all("agent_error")[-1].code == "insufficient_quota"
        assert len(server.sessions) == 1


async def test_reconnecting_can_be_switched_off(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server, reconnect=None) as conversation:
        await server.sent("session.updated")
        await settle()
        server.current.drop()
        await asyncio.wait([conversation.running])
        assert [error.type for error in conversation.listener.all("agent_error")] == ["connection_closed"]
        assert len(server.sessions) == 1
        assert conversation.result.turns == []


# --- attempts ----------------------------------------------------------------------------------------


async def test_the_server_is_down_for_a_while(converse: Any) -> None:
    async with RealtimeEmulator(["Yes."], detect_speech=False) as server, converse(server) as conversation:
        listener, first = conversation.listener, await server.connected()
        await settle(20)
        await server.stop_listening()
        first.drop()
        await listener.wait_for("agent_reconnecting", 4)
        await conversation.agent.send_message("Are you there?")  # waits for the connection
        await server.listen()
        await listener.wait_for("assistant_stopped_responding")
        assert listener.all("agent_reconnecting") == [1, 2, 3, 4]
        reasons = [call[2] for call in listener.calls if call[0] == "agent_reconnecting"]
        assert "lost" in reasons[0]
        assert all("Cannot connect to" in reason for reason in reasons[1:])
        names = listener.names
        assert names.index("agent_reconnected") > max(i for i, name in enumerate(names) if name == "agent_reconnecting")
        assert known(server.current) == ["user: Are you there?", "assistant: Yes."]
        times = [at for at, name in zip(listener.times, names, strict=True) if name == "agent_reconnecting"]
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert pauses[0] <= 0.05 + 0.01  # the first attempt comes at once
        assert pauses[1] == pytest.approx(0.25, rel=0.25)
        assert pauses[2] == pytest.approx(0.5, rel=0.25)


async def test_the_attempts_run_out(converse: Any) -> None:
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, reconnect=ReconnectPolicy(max_attempts=3)) as conversation,
    ):
        await server.sent("session.updated")
        await settle(20)
        await server.stop_listening()
        server.current.drop()
        await asyncio.wait([conversation.running])
        assert conversation.listener.all("agent_reconnecting") == [1, 2, 3]
        (error,) = conversation.listener.all("agent_error")
        assert error.type == "connection_closed"
        assert "3 attempts: Cannot connect" in error.message
        assert conversation.listener.names[-1] == "agent_stopped"
        assert conversation.result.turns == []


FINAL_REFUSALS = {
    "key": BAD_KEY,
    "quota": NO_QUOTA,
    "model": model_not_found("gpt-realtime-2.1-mini"),
    "401": StartRefusal(http_status=401),
    "404": StartRefusal(http_status=404),
}


@pytest.mark.parametrize("refusal", FINAL_REFUSALS.values(), ids=FINAL_REFUSALS.keys())
async def test_a_refused_attempt_that_is_final(converse: Any, refusal: StartRefusal) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await server.sent("session.updated")
        await settle()
        server.refuse(refusal)
        server.current.drop()
        await asyncio.wait([conversation.running])
        assert conversation.listener.all("agent_reconnecting") == [1]
        (error,) = conversation.listener.all("agent_error")
        assert error.type == "connection_closed"
        assert "refused" in error.message or "HTTP" in error.message
        assert conversation.result.turns == []  # run() returns, it does not raise


PASSING_REFUSALS = {
    "429": StartRefusal(http_status=429),
    "503": StartRefusal(http_status=503),
    "1011": StartRefusal(close_code=1011),
    "1013": StartRefusal(close_code=1013, reason="try again later"),
    "old token": TOKEN_EXPIRED,
}


@pytest.mark.parametrize("refusal", PASSING_REFUSALS.values(), ids=PASSING_REFUSALS.keys())
async def test_a_refused_attempt_that_is_not(converse: Any, refusal: StartRefusal) -> None:
    async with RealtimeEmulator(["Yes."], detect_speech=False) as server, converse(server) as conversation:
        await server.sent("session.updated")
        await settle()
        server.refuse(refusal, times=2)
        server.current.drop()
        await conversation.listener.wait_for("agent_reconnected")
        assert conversation.listener.all("agent_reconnecting") == [1, 2, 3]
        await conversation.agent.send_message("Are you there?")
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert conversation.listener.all("agent_error") == []


async def test_an_old_token_on_a_connection_that_stays_open(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await server.sent("session.updated")
        await settle()
        with_old_token: list[EmulatedSession] = []
        accept = server._new_session

        def refuse_the_token(*arguments: Any) -> EmulatedSession:
            session = accept(*arguments)
            if not with_old_token:
                with_old_token.append(session)
                session.send({"type": "error", "event_id": "e", "error": dict(TOKEN_EXPIRED.error or {})})
            return session

        server._new_session = refuse_the_token  # type: ignore[method-assign]
        first.drop()
        await conversation.listener.wait_for("agent_reconnected")
        await with_old_token[0].wait_closed()
        assert len(server.sessions) == 3
        assert conversation.listener.all("agent_reconnecting") == [1, 2]


async def test_refused_settings_end_the_conversation(converse: Any) -> None:
    problem = {"type": "invalid_request_error", "code": "invalid_value", "message": "No such voice.", "param": "voice"}
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await server.sent("session.updated")
        await settle()
        object.__setattr__(server._setup, "faults", Faults(refuse_session_updates=problem))
        server.current.drop()
        await asyncio.wait([conversation.running])
        (error,) = conversation.listener.all("agent_error")
        assert error.type == "connection_closed"
        assert "No such voice" in error.message
        assert conversation.result.turns == []


async def test_connections_that_never_last_run_out_of_attempts(converse: Any) -> None:
    async with (
        RealtimeEmulator(detect_speech=False) as server,
        converse(server, reconnect=ReconnectPolicy(max_attempts=3)) as conversation,
    ):
        for _ in range(4):
            session = await server.connected(timeout=30)
            await settle()
            session.drop()
        await asyncio.wait([conversation.running])
        assert conversation.listener.names.count("agent_reconnected") == 3
        (error,) = conversation.listener.all("agent_error")
        assert "3 attempts" in error.message


class Tokens(EmulatorProvider):
    """A provider whose token is fetched, which may fail."""

    fetched = 0
    failures = 0

    async def connection_headers(self) -> dict[str, str]:
        type(self).fetched += 1
        if self.failures:
            type(self).failures -= 1
            raise OSError("no route to the token service")
        return {"Authorization": f"Bearer token-{self.fetched}"}


async def test_the_token_is_fetched_again(converse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokens, "fetched", 0)
    monkeypatch.setattr(Tokens, "failures", 0)
    async with RealtimeEmulator(detect_speech=False) as server:
        async with converse(server, provider=Tokens(server.url, "")) as conversation:
            first = await server.connected()
            await settle()
            Tokens.failures = 1
            first.drop()
            second = await server.connected()
            await conversation.listener.wait_for("agent_reconnected")
        assert first.headers["authorization"] == "Bearer token-1"
        assert second.headers["authorization"] == "Bearer token-3"
        assert "token service" in conversation.listener.calls[-3][2]


# --- stop() ------------------------------------------------------------------------------------------


async def test_stopping_during_a_pause(converse: Any) -> None:
    loop = asyncio.get_running_loop()
    policy = ReconnectPolicy(initial_delay_s=100, max_delay_s=100, jitter=0)
    async with RealtimeEmulator(detect_speech=False) as server, converse(server, reconnect=policy) as conversation:
        await server.sent("session.updated")
        await server.stop_listening()
        server.current.drop()
        await conversation.listener.wait_for("agent_reconnecting", 2)
        await settle(5)
        asked_at = loop.time()
        await conversation.agent.stop()
        assert loop.time() - asked_at < 2
        assert conversation.result.turns == []
        assert conversation.listener.all("agent_error") == []


async def test_stopping_while_connecting(converse: Any) -> None:
    loop = asyncio.get_running_loop()
    hanging, over = asyncio.Event(), asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hanging.set()
        await over.wait()
        writer.close()

    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        await server.sent("session.updated")
        await server.stop_listening()
        silent = await asyncio.start_server(hang, "127.0.0.1", server._port)
        server.current.drop()
        await hanging.wait()
        asked_at = loop.time()
        await conversation.agent.stop()
        assert loop.time() - asked_at < 2
        over.set()
        silent.close()
        assert conversation.listener.all("agent_error") == []


async def test_stopping_before_the_new_session_has_answered(converse: Any) -> None:
    loop = asyncio.get_running_loop()
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await settle()
        accept = server._new_session

        def mute(*arguments: Any) -> EmulatedSession:
            session = accept(*arguments)
            session.go_silent()
            return session

        server._new_session = mute  # type: ignore[method-assign]
        first.drop()
        second = await server.connected()
        await settle(0.1)
        asked_at = loop.time()
        await conversation.agent.stop()
        assert loop.time() - asked_at < 4
        assert "agent_reconnected" not in conversation.listener.names
        second.drop()


# --- what is told again ------------------------------------------------------------------------------


async def test_seeds_messages_and_images_are_told_again(converse: Any) -> None:
    seed = ConversationSeed.from_pairs(("I am Ada.", "Hello Ada."))
    async with RealtimeEmulator(["Nice."], detect_speech=False) as server:
        async with converse(server, conversation_seed=seed) as conversation:
            first = await server.connected()
            await conversation.agent.send_image(PIXEL, "Look!")
            await conversation.listener.wait_for("assistant_stopped_responding")
            first.drop()
            second = await server.connected()
            await settle()
        assert known(second) == [
            "user: I am Ada.",
            "assistant: Hello Ada.",
            "user: Look! <input_image>",
            "assistant: Nice.",
        ]
        assert [turn.text for turn in conversation.result.turns] == ["Look!", "Nice."]


async def test_the_settings_as_they_are_now(converse: Any) -> None:
    tool = {"type": "function", "name": "late", "description": "", "parameters": {"type": "object", "properties": {}}}
    async with RealtimeEmulator(detect_speech=False) as server, converse(server, instructions="Old.") as conversation:
        first = await server.connected()
        agent = conversation.agent
        await agent.update_instructions("New.")
        await agent.set_speech_speed(1.25)
        await agent.event_bus.dispatch(UpdateSessionToolsCommand([tool]))
        await agent.event_bus.dispatch(UpdateToolChoiceCommand("required"))
        await settle()
        await agent.event_bus.dispatch(UpdateToolChoiceCommand("nonsense"))  # type: ignore[arg-type]
        await conversation.listener.wait_for("agent_error")  # refused: it must not come back
        first.drop()
        second = await server.connected()
        await settle()
        (update,) = [event["session"] for event in second.received if event["type"] == "session.update"]
        assert update["instructions"] == "New."
        assert update["audio"]["output"]["speed"] == 1.25
        assert update["tools"] == [tool]
        assert update["tool_choice"] == "required"
        assert len(conversation.listener.all("agent_error")) == 1


async def test_an_interrupted_turn_is_told_as_it_was_heard(converse: Any) -> None:
    async with RealtimeEmulator([LONG, "Yes."], ["Stop!"], detect_speech=False) as server:
        async with converse(server) as conversation:
            first = await server.connected()
            await conversation.agent.send_message("Tell me a story.")
            await conversation.speaker.wait_until_heard(2_000)
            first.speech_started()
            await settle(0.5)
            first.speech_stopped()
            await conversation.listener.wait_for("assistant_stopped_responding", 2)
            first.drop()
            second = await server.connected()
            await settle()
        question, story, stop, yes = known(second)
        assert (question, stop, yes) == ("user: Tell me a story.", "user: Stop!", "assistant: Yes.")
        heard = conversation.result.turns[1].heard
        assert story == f"assistant: {heard}"
        assert 10 < len(heard) < 60


async def test_an_answer_that_plays_on_and_is_interrupted_afterwards(converse: Any) -> None:
    """The new session was told all of it, and of the next answer: that has to be corrected."""
    async with RealtimeEmulator([LONG, "Yes."], detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await conversation.agent.send_message("Tell me a story.")
        await server.sent("response.done")
        await conversation.agent.send_message("And then?")
        await server.sent("response.done")
        await settle(0.1)
        first.drop()
        second = await server.connected()
        await settle(0.5)
        assert known(second) == [
            "user: Tell me a story.", f"assistant: {LONG}", "user: And then?", "assistant: Yes.",
        ]  # fmt: skip
        await conversation.speaker.wait_until_heard(2_000)
        await conversation.agent.interrupt()
        await settle()
        question, story, follow_up = known(second)  # of "Yes." nothing was heard
        assert (question, follow_up) == ("user: Tell me a story.", "user: And then?")
        assert LONG.startswith(story.removeprefix("assistant: "))
        assert 20 < len(story) < 60
        await conversation.agent.interrupt()  # nothing left to correct
        assert "response.cancel" not in second.types("received")
        assert conversation.listener.all("agent_error") == []


async def test_a_first_answer_that_is_corrected(converse: Any) -> None:
    """There is no item before it."""
    async with RealtimeEmulator([LONG], detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await settle()
        await conversation.agent.event_bus.dispatch(RequestResponseCommand())
        await server.sent("response.done")
        await settle(0.1)
        first.drop()
        second = await server.connected()
        await settle(0.5)
        await conversation.agent.interrupt()
        await settle()
        (story,) = known(second)
        assert len(story) < 60
        assert conversation.listener.all("agent_error") == []


async def test_the_greeting_is_told_again(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Welcome to the shop."], detect_speech=False) as server,
        converse(server, greeting="Welcome to the shop.") as conversation,
    ):
        first = await server.connected()
        await conversation.listener.wait_for("assistant_stopped_responding")
        first.drop()
        second = await server.connected()
        await settle()
        assert known(second) == ["assistant: Welcome to the shop."]
        assert requests(second) == []


async def test_words_of_our_own_that_break_off(converse: Any) -> None:
    hold = Hold(after_ms=400)
    async with (
        RealtimeEmulator([Reply(LONG, hold=hold)], detect_speech=False) as server,
        converse(server) as conversation,
        asyncio.TaskGroup() as group,
    ):
        first = await server.connected()
        said = group.create_task(conversation.agent.say(LONG))
        await hold.reached()
        first.drop()
        second = await server.connected()
        await settle()
        assert said.result() is False
        assert requests(second) == []  # the application knows, and may say it again
        assert known(second)[0].startswith("assistant: This is")


# --- what is owed ------------------------------------------------------------------------------------


async def test_a_loss_before_the_answer(converse: Any) -> None:
    async with RealtimeEmulator(["Sunny."], detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await settle()
        raw_user_turn(first, "What is the weather?")
        await conversation.listener.wait_for("user_transcript")
        first.drop()
        await conversation.listener.wait_for("assistant_stopped_responding")
        second = server.current
        assert known(second) == ["user: What is the weather?", "assistant: Sunny."]
        (instructions,) = requests(second)
        assert "answer what the user said last" in instructions
    assert [turn.text for turn in conversation.result.turns] == ["What is the weather?", "Sunny."]


async def test_a_request_that_was_not_answered_is_made_again(converse: Any) -> None:
    async with RealtimeEmulator(["Sunny."], detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await settle()
        first.stall()
        await conversation.agent.send_message("What is the weather?")
        await settle()
        first.drop()
        first.resume()
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert known(server.current) == ["user: What is the weather?", "assistant: Sunny."]
        assert requests(server.current) == [""]
    assert [turn.text for turn in conversation.result.turns] == ["What is the weather?", "Sunny."]


async def test_a_loss_in_the_middle_of_an_answer(converse: Any) -> None:
    hold = Hold(after_ms=3_000)
    async with RealtimeEmulator([Reply(LONG, hold=hold), "The rest."], detect_speech=False) as server:
        async with converse(server, instructions="You are kind.") as conversation:
            first = await server.connected()
            await conversation.agent.send_message("Tell me a story.")
            await hold.reached()
            await settle(0.1)
            first.drop()
            await conversation.listener.wait_for("assistant_stopped_responding", 2)
            second = server.current
            question, story, rest = known(second)
            assert (question, rest) == ("user: Tell me a story.", "assistant: The rest.")
            begun = story.removeprefix("assistant: ")
            assert LONG.startswith(begun)
            assert 30 < len(begun) < 60  # about 3 s of speech
            (instructions,) = requests(second)
            assert instructions.startswith("You are kind.\n\n")
            assert "go on where it stopped" in instructions
            assert conversation.speaker.heard_ms >= 3_000  # what had come was played to its end
        listener = conversation.listener
        assert listener.all("assistant_transcript") == [begun, "The rest."]
        assert "agent_interrupted" not in listener.names
        assert [turn.text for turn in conversation.result.turns] == ["Tell me a story.", begun, "The rest."]
        assert listener.all("agent_error") == []


async def test_a_text_answer_that_breaks_off(converse: Any) -> None:
    async with (
        RealtimeEmulator([], detect_speech=False) as server,
        converse(server, output_modalities=["text"]) as conversation,
    ):
        first = await server.connected()
        await settle()
        first.send({"type": "response.created", "response": {"id": "r1", "status": "in_progress"}})
        delta = {"response_id": "r1", "item_id": "a1", "output_index": 0, "content_index": 0}
        first.send({"type": "response.output_text.delta", "delta": "It is su", **delta})
        await conversation.listener.wait_for("assistant_started_responding")
        first.drop()
        await conversation.listener.wait_for("agent_reconnected")
        await settle()
        assert known(server.current)[0] == "assistant: It is su"
        assert conversation.listener.all("assistant_transcript")[0] == "It is su"
        assert "go on" in requests(server.current)[0]


async def test_a_loss_before_the_first_sound_of_an_answer(converse: Any) -> None:
    async with RealtimeEmulator([], detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await settle()
        first.send({"type": "response.created", "response": {"id": "r1", "status": "in_progress"}})
        await settle(0.1)
        first.drop()
        await conversation.listener.wait_for("agent_reconnected")
        await settle()
        assert "go on" in requests(server.current)[0]


async def test_a_loss_while_the_user_speaks(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Sorry, once more?"], detect_speech=False) as server,
        converse(server) as conversation,
    ):
        first = await server.connected()
        await settle()
        raw_user_turn(first, finished=False)
        await conversation.listener.wait_for("user_started_speaking")
        first.drop()
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert "ask the user to say it again" in requests(server.current)[0]
        names = conversation.listener.names
        assert names.index("user_stopped_speaking") < names.index("agent_reconnecting")
        assert conversation.listener.all("agent_reconnected")[0].lost_user_turns == 1


async def test_a_turn_whose_words_never_came(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Sorry, once more?"], detect_speech=False) as server,
        converse(server) as conversation,
    ):
        first = await server.connected()
        await settle()
        raw_user_turn(first)
        await settle(0.1)
        first.drop()
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert "ask the user to say it again" in requests(server.current)[0]
        server.current.drop()
        await conversation.listener.wait_for("agent_reconnected", 2)
        await settle()
        assert requests(server.current) == []  # asked once is enough
        assert known(server.current) == ["assistant: Sorry, once more?"]


async def test_a_turn_that_was_committed_by_hand(converse: Any) -> None:
    async with (
        RealtimeEmulator(["Sorry, once more?"], detect_speech=False) as server,
        converse(server, turn_detection=None) as conversation,
    ):
        first = await server.connected()
        conversation.microphone.say(bytes(48 * 500))
        await first.audio_received(400)
        first.stall()
        await conversation.agent.commit_user_turn()
        await settle(0.1)
        first.drop()
        first.resume()
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert any("ask the user to say it again" in request for request in requests(server.current))


async def test_the_user_speaks_before_the_thread_is_taken_up(converse: Any) -> None:
    """Nobody wants to hear the end of the old answer after the new one."""
    hold = Hold(after_ms=500)
    async with (
        RealtimeEmulator([Reply(LONG, hold=hold), "New answer."], ["Never mind."], detect_speech=False) as server,
        converse(server) as conversation,
    ):
        first = await server.connected()
        await conversation.agent.send_message("Tell me a story.")
        await hold.reached()
        accept = server._new_session

        def speak(*arguments: Any) -> EmulatedSession:
            session = accept(*arguments)
            asyncio.get_running_loop().call_soon(
                session.send, {"type": "input_audio_buffer.speech_started", "item_id": "u", "audio_start_ms": 0}
            )
            return session

        server._new_session = speak  # type: ignore[method-assign]
        first.drop()
        await conversation.listener.wait_for("user_started_speaking")
        await settle(10)
        assert not any("go on" in request for request in requests(server.current)[1:])


# --- tools -------------------------------------------------------------------------------------------


class Work:
    """A tool that takes as long as the test wants."""

    def __init__(self) -> None:
        self.started, self.release = asyncio.Event(), asyncio.Event()
        self.tools = Tools()
        self.runs = 0

        @self.tools.action("Finds things.")
        async def find(what: str) -> str:
            self.runs += 1
            self.started.set()
            await self.release.wait()
            return f"found {what}"


CALL = 'call c1 find {"what": "socks"}'


@pytest.mark.parametrize("ready", ["before", "in the gap", "after"])
async def test_a_tool_is_working(converse: Any, ready: str) -> None:
    work = Work()
    replies = [Reply(calls=[ToolCall("find", {"what": "socks"}, "c1")]), "Here they are.", "Anything else?"]
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, tools=work.tools) as conversation,
    ):
        listener, first = conversation.listener, await server.connected()
        await conversation.agent.send_message("Find socks.")
        await work.started.wait()
        await server.sent("response.done")
        await settle(0.1)
        if ready == "before":
            first.stall()
            work.release.set()
            await listener.wait_for("tool_executed")
        await server.stop_listening()
        first.drop()
        first.resume()
        await listener.wait_for("agent_reconnecting", 2)
        if ready == "in the gap":
            work.release.set()
            await listener.wait_for("tool_executed")
        await server.listen()
        await listener.wait_for("agent_reconnected")
        if ready == "after":
            await settle(5)
            assert known(server.current) == ["user: Find socks.", CALL]
            assert requests(server.current) == []  # its result is the answer
        work.release.set()
        await listener.wait_for("assistant_stopped_responding")
        await settle(5)
        output, answer = "output c1 found socks", "assistant: Here they are."
        assert known(server.current) == ["user: Find socks.", CALL, output, answer]
        assert requests(server.current) == [""]
        assert work.runs == 1
        assert listener.all("agent_error") == []


async def test_calls_of_a_response_that_breaks_off(converse: Any) -> None:
    """The complete one runs on; the other was never made."""
    work = Work()
    async with (
        RealtimeEmulator(["Found one."], detect_speech=False) as server,
        converse(server, tools=work.tools) as conversation,
    ):
        first = await server.connected()
        await settle()
        first.send({"type": "response.created", "response": {"id": "r1", "status": "in_progress"}})
        report = {"type": "response.function_call_arguments.done", "response_id": "r1", "output_index": 0}
        first.send({**report, "item_id": "i1", "call_id": "c1", "name": "find", "arguments": '{"what":"socks"}'})
        first.send({**report, "item_id": "i2", "call_id": "c2", "name": "find", "arguments": '{"wha'})
        await work.started.wait()
        first.drop()
        await conversation.listener.wait_for("agent_reconnected")
        await settle()
        assert known(server.current) == [CALL]
        assert requests(server.current) == []
        work.release.set()
        await conversation.listener.wait_for("assistant_stopped_responding")
        assert known(server.current) == [CALL, "output c1 found socks", "assistant: Found one."]


async def test_a_holding_phrase_is_not_said_late(converse: Any) -> None:
    tools = Tools()
    release = asyncio.Event()

    @tools.action("Finds things.", holding_instruction="One moment.")
    async def find(what: str) -> str:
        await release.wait()
        return f"found {what}"

    hold = Hold(after_ms=200)
    replies = [Reply("Let me see. " * 10, calls=[ToolCall("find", {"what": "socks"}, "c1")], hold=hold), "Here."]
    async with (
        RealtimeEmulator(replies, detect_speech=False) as server,
        converse(server, tools=tools) as conversation,
    ):
        first = await server.connected()
        await conversation.agent.send_message("Find socks.")
        await hold.reached()
        report = {"type": "response.function_call_arguments.done", "output_index": 1, "item_id": "i1"}
        response = first.active_response
        assert response is not None
        call = {"call_id": "c1", "name": "find", "arguments": '{"what":"socks"}', "response_id": response.id}
        first.send({**report, **call})
        await settle(5)  # the phrase waits for the end of the response
        release.set()  # and the output for the phrase
        await conversation.listener.wait_for("tool_executed")
        first.drop()
        await conversation.listener.wait_for("assistant_transcript", 2)
        lines = known(server.current)
        assert lines[-3:-1] == [CALL, "output c1 found socks"]
        assert requests(server.current) == [""]


# --- microphone and events ---------------------------------------------------------------------------


async def test_what_the_user_says_in_the_gap_arrives(converse: Any) -> None:
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await settle()
        await server.stop_listening()
        first.drop()
        await conversation.listener.wait_for("agent_reconnecting", 2)
        speech = bytes([1, 2]) * 24 * 600
        await conversation.microphone.say(speech).done()
        await server.listen()
        await conversation.listener.wait_for("agent_reconnected")
        await settle()
        assert speech in bytes(server.current.user_audio)


async def test_a_loss_while_the_conversation_is_told_again(converse: Any) -> None:
    async with RealtimeEmulator(["Hello to you."], detect_speech=False) as server, converse(server) as conversation:
        first = await server.connected()
        await conversation.agent.send_message("Hello.")
        await conversation.listener.wait_for("assistant_stopped_responding")
        await settle(20)
        object.__setattr__(server._setup, "faults", Faults(drop_after_events=3))
        first.drop()
        await conversation.listener.wait_for("agent_reconnecting", 3)
        object.__setattr__(server._setup, "faults", Faults())
        await settle(20)
        assert known(server.current) == ["user: Hello.", "assistant: Hello to you."]
        assert conversation.listener.all("agent_error") == []
        assert len(server.sessions) >= 3


async def test_the_event_for_applications(converse: Any) -> None:
    heard: list[AgentReconnectingEvent] = []
    async with RealtimeEmulator(detect_speech=False) as server, converse(server) as conversation:
        conversation.agent.event_bus.subscribe(AgentReconnectingEvent, heard.append)
        await server.sent("session.updated")
        await settle()
        server.current.drop()
        await conversation.listener.wait_for("agent_reconnected")
        assert [event.attempt for event in heard] == [1]


async def test_a_wrong_policy_is_refused(converse: Any) -> None:
    async with RealtimeEmulator() as server:
        with pytest.raises(TypeError, match="reconnect"):
            async with converse(server, reconnect=True):
                pass
