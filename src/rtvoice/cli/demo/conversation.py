"""The conversation of the demo: an agent as any application has it, and what is put around it."""

import asyncio
import wave
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from rtvoice import AgentResult, OpenAIProvider, RealtimeAgent, ServerVAD, Tools, TranscriptionModel
from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.cli.demo import clips
from rtvoice.cli.demo.clips import Clip
from rtvoice.cli.demo.narrator import Narrator
from rtvoice.cli.demo.user import Line, ScriptedUser
from rtvoice.cli.exit_codes import DONE, FAILED, INTERRUPTED, exit_code
from rtvoice.cli.terminal import Style, Terminal
from rtvoice.errors import RtvoiceError
from rtvoice.local import LocalServer
from rtvoice.testing import PositionedSpeaker, RealtimeEmulator, Reply, ReplyRequest, ToolCall

USER_LINES: Final = (
    Line(clips.WHO_ARE_YOU),
    Line(clips.WEATHER),
    Line(clips.STORY),
    Line(clips.STOP, interrupts_after_s=1.8),
)

INSTRUCTIONS: Final = "You are the voice of a demo. Speak English. Answer in a sentence or two, unless asked for more."

_NEXT_STEPS: Final = (
    "Next steps (in a clone with 'uv run' in front):",
    "  listen to the recording; left is the user, right the assistant",
    "  rtvoice demo --local                               the same with real offline speech (rtvoice[local])",
    "  rtvoice chat                                       talk yourself (rtvoice[audio,local]; or --text)",
    "  OPENAI_API_KEY=... rtvoice demo --openai           the same with the service",
    "  OPENAI_API_KEY=... python examples/quickstart.py   an agent in a few lines",
    "  README.md                                          the documentation",
)

_LOOKUP_S: Final = 2.5
_FORECASTS: Final = {
    "Berlin": "18 degrees, partly cloudy",
    "London": "14 degrees, light rain",
    "Tokyo": "22 degrees, sunny",
}

tools = Tools()


@tools.action("Current weather of a city", holding_instruction=clips.ONE_MOMENT.text)
async def get_weather(city: str) -> str:
    """Look the weather up, in a table and slowly: what matters here is that the caller has to wait."""
    await asyncio.sleep(_LOOKUP_S)
    return _FORECASTS.get(city, f"unknown; this demo has only {', '.join(_FORECASTS)}")


async def hold(
    terminal: Terminal, *, out: Path, log: Path | None = None, microphone: bool, openai: bool, local: bool = False
) -> int:
    """Hold the conversation from the first line to the summary.

    Args:
        terminal: Where to tell it.
        out: The recording.
        log: The session log; ``None`` for none.
        microphone: Whether the user is a person at this machine; else clips are.
        openai: Whether the server is the real service; else the emulator is.
        local: Whether the server is one that understands and speaks offline (rtvoice[local]).

    Returns:
        The exit code.

    Raises:
        RtvoiceError: The agent could not begin, and nobody has been told why yet.
    """
    user = None if microphone else ScriptedUser(USER_LINES)
    knows_words = openai or local or not microphone
    narrator = Narrator(terminal, user="you" if microphone else "user", knows_words=knows_words)
    async with AsyncExitStack() as stack:
        if openai:
            provider: Any = OpenAIProvider()
        elif local:
            provider = (await stack.enter_async_context(LocalServer())).provider
        else:
            server = RealtimeEmulator(offline_answer, [line.clip.text for line in USER_LINES])
            provider = (await stack.enter_async_context(server)).provider
        agent = RealtimeAgent[None](
            instructions=INSTRUCTIONS,
            turn_detection=ServerVAD(),
            transcription_model=TranscriptionModel.GPT_TRANSCRIBE if knows_words else None,
            tools=tools,
            audio_input=user or MicrophoneInput(),
            audio_output=PositionedSpeaker() if user else SpeakerOutput(),
            listener=narrator,
            recording_path=out,
            session_log=log,
            provider=provider,
        )
        narrator.follow(agent.event_bus)
        if user is not None:
            user.join(agent.event_bus, leave=agent.stop)
        _introduce(terminal, microphone=microphone, openai=openai, local=local)
        try:
            result = await agent.run()
        except RtvoiceError as error:
            if str(error) in narrator.errors:  # the listener was the first to hear of it
                return exit_code(error)
            raise
    return _conclude(terminal, narrator, user, result, log=log, openai=openai)


def offline_answer(request: ReplyRequest) -> Reply:
    """Return what the emulator's assistant does: the demo's answers, turn by turn, whatever was said."""
    if request.tool_choice == "none":  # the agent asks for its holding phrase while a tool runs
        return _spoken(clips.ONE_MOMENT)
    if request.function_outputs:
        return _spoken(clips.WEATHER_ANSWER)
    answers = (
        _spoken(clips.INTRODUCTION),
        # A moment later, so that the user's words are written down first: easier to follow for a reader.
        Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})], delay_s=0.005),
        _spoken(clips.LIGHTHOUSE),
        _spoken(clips.STOPPED),
    )
    turns = sum(item.get("role") == "user" for item in request.items)
    return answers[(turns - 1) % len(answers)]


def _spoken(clip: Clip) -> Reply:
    # Twice as fast as it is heard: like the service, ahead of the listener, and yet a reader sees it come.
    return Reply(clip.text, audio=clip.path, pace=2.0, delta_ms=[200])


def _introduce(terminal: Terminal, *, microphone: bool, openai: bool, local: bool) -> None:
    terminal.line(terminal.paint("rtvoice demo: a spoken conversation over a real WebSocket", Style.BOLD))
    if openai:
        server = "The server is OpenAI's: it hears, understands and answers for itself, and costs money."
        words = "are what the server understood"
    elif local:
        server = (
            "The server is rtvoice's own and runs inside this command. It understands speech and speaks, offline; what "
            "it answers comes from simple rules that can call the agent's tool, and know nothing else."
        )
        words = "are what the server understood"
    else:
        server = (
            "The server is rtvoice's own and runs inside this command. It notices in the sound itself where a turn "
            "begins and ends, but understands no speech: its answers are recordings, in a fixed order."
        )
        words = "come from the demo's script"
    if microphone:
        user = (
            "You are the user: speak, and pause. The echo of the loudspeaker is cancelled; headphones are better "
            "still. Ctrl+C ends the conversation."
        )
    else:
        user = f"The user is played from WAV files; the words of the user below {words}."
    terminal.paragraph(f"{server} {user}")
    terminal.line()


def _conclude(
    terminal: Terminal,
    narrator: Narrator,
    user: ScriptedUser | None,
    result: AgentResult,
    *,
    log: Path | None,
    openai: bool,
) -> int:
    """Print the summary and what to do next; return the exit code."""
    terminal.live("")
    terminal.line()
    for name, value in _summary(narrator, result, openai=openai):
        terminal.line(f"{terminal.paint(f'{name:<13}', Style.BOLD)} {value}")
    if user is not None and user.problem:
        terminal.error(f"rtvoice demo: {user.problem}")
        return FAILED
    if narrator.errors or result.recording_path is None:
        return FAILED
    if user is not None and not user.left:
        terminal.error("rtvoice demo: stopped before the end")
        return INTERRUPTED
    terminal.line()
    page = f"  rtvoice replay {log} --html talk.html"
    steps = _NEXT_STEPS if log is None else (_NEXT_STEPS[0], f"{page:<53}a page to see and hear it", *_NEXT_STEPS[1:])
    for line in steps:
        terminal.line(line)
    return DONE


def _summary(narrator: Narrator, result: AgentResult, *, openai: bool) -> list[tuple[str, str]]:
    lines = [("turns", f"{narrator.turns} of the user; tool calls: {narrator.tool_calls}")]
    if result.latency.turns_ms:
        waits = ", ".join(f"{ms:.0f}" for ms in result.latency.turns_ms)
        lines.append(("first sound", f"{waits} ms after turn detection noticed the end of a turn"))
    lines += [("interruption", words) for words in narrator.interruptions]
    if openai and result.usage.cost_usd is not None:
        lines.append(("cost", f"{result.usage.cost_usd:.4f} US dollars, by the price list in rtvoice.usage"))
    if result.recording_path is not None:
        with wave.open(str(result.recording_path), "rb") as recording:
            seconds = recording.getnframes() / recording.getframerate()
        lines.append(("recording", f"{result.recording_path} ({seconds:.1f} s)"))
    return lines
