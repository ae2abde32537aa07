"""The two ways to talk: by voice and in writing."""

import asyncio
import sys
from typing import Any, Final

from rtvoice import AgentListener, RealtimeAgent, ServerVAD, TranscriptionModel
from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.cli.chat.answers import Answers
from rtvoice.cli.chat.tools import tools
from rtvoice.cli.demo.narrator import Narrator
from rtvoice.cli.exit_codes import DONE, FAILED, exit_code
from rtvoice.cli.terminal import Style, Terminal
from rtvoice.errors import RtvoiceError
from rtvoice.events import (
    AgentError,
    AssistantTranscriptCompletedEvent,
    EventBus,
    ToolCallFinishedEvent,
    ToolCallRequestedEvent,
)
from rtvoice.testing import VirtualMicrophone, VirtualSpeaker
from rtvoice.tools.threads import run_in_thread

_GREETING: Final = "Hello! What can I do for you?"


async def speak(terminal: Terminal, provider: Any, instructions: str) -> int:
    """Hold a conversation by voice, until Ctrl+C.

    Args:
        terminal: Where to tell it.
        provider: What to talk to.
        instructions: Who the assistant is.

    Returns:
        The exit code.

    Raises:
        RtvoiceError: The conversation could not begin.
    """
    narrator = Narrator(terminal, user="you")
    agent = RealtimeAgent[None](
        instructions=instructions,
        turn_detection=ServerVAD(),
        transcription_model=TranscriptionModel.GPT_TRANSCRIBE,
        tools=tools,
        greeting=_GREETING,
        audio_input=MicrophoneInput(),
        audio_output=SpeakerOutput(),
        listener=narrator,
        provider=provider,
    )
    narrator.follow(agent.event_bus)
    terminal.paragraph(
        "Speak, and pause. The echo of the loudspeaker is cancelled; headphones are better still. Ctrl+C ends the "
        "conversation."
    )
    terminal.line()
    try:
        await agent.run()
    except RtvoiceError as error:
        if str(error) in narrator.errors:  # it has been told already
            return exit_code(error)
        raise
    return FAILED if narrator.errors else DONE


async def write(terminal: Terminal, provider: Any, instructions: str) -> int:
    """Hold a conversation in writing: line by line from standard input, until its end.

    Args:
        terminal: Where to tell it.
        provider: What to talk to.
        instructions: Who the assistant is.

    Returns:
        The exit code.

    Raises:
        RtvoiceError: The conversation could not begin.
    """
    page = _Page(terminal)
    agent = RealtimeAgent[None](
        instructions=instructions,
        output_modalities=["text"],
        transcription_model=None,
        tools=tools,
        audio_input=VirtualMicrophone(realtime=False),  # where nobody speaks
        audio_output=VirtualSpeaker(),
        listener=page,
        provider=provider,
    )
    page.follow(agent.event_bus)
    terminal.line("Write, and press Enter. Ctrl+D (on Windows Ctrl+Z, Enter) ends the conversation.")
    failure: RtvoiceError | None = None
    async with asyncio.TaskGroup() as tasks:
        typing = tasks.create_task(_type(terminal, agent, page))
        try:
            await agent.run()
        except RtvoiceError as error:  # not through the group, which would wrap it
            failure = error
        typing.cancel()
    if failure is None:
        return FAILED if page.errors else DONE
    if str(failure) in page.errors:
        return exit_code(failure)
    raise failure


async def _type(terminal: Terminal, agent: RealtimeAgent[None], page: "_Page") -> None:
    """Send what is typed, line by line; each is answered before the next is read."""
    await page.connected.wait()
    while True:
        terminal.live(terminal.paint("you> ", Style.BOLD, Style.CYAN))
        line = await run_in_thread("rtvoice-chat-input", sys.stdin.readline)
        terminal.live("")
        if not line:
            await agent.stop()
            return
        if line.strip():
            page.answers.expect()
            await agent.send_message(line.strip())
            await page.answers.complete()


class _Page(AgentListener):
    """Prints what the assistant writes and does.

    Attributes:
        answers: When an answer is complete.
        connected: Set once something can be sent.
        errors: Messages of the errors that were reported.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.answers = Answers()
        self.connected = asyncio.Event()
        self.errors: list[str] = []
        self._terminal = terminal

    def follow(self, bus: EventBus) -> None:
        """Begin to listen to what has no callback."""
        self.answers.follow(bus)
        bus.subscribe(AssistantTranscriptCompletedEvent, self._wrote)
        bus.subscribe(ToolCallRequestedEvent, self._called)
        bus.subscribe(ToolCallFinishedEvent, self._returned)

    async def on_agent_session_connected(self) -> None:
        """Let the user write."""
        self.connected.set()

    async def on_agent_error(self, error: AgentError) -> None:
        """Report an error at once."""
        self.errors.append(error.message)
        self._terminal.error(self._terminal.paint(f"error: {error.message}", Style.RED))

    def _wrote(self, event: AssistantTranscriptCompletedEvent) -> None:
        self._line("assistant", event.transcript, Style.GREEN)

    def _called(self, event: ToolCallRequestedEvent) -> None:
        arguments = ", ".join(f"{name}={value!r}" for name, value in event.arguments.items())
        self._line("tool", f"{event.name}({arguments})", Style.YELLOW)

    def _returned(self, event: ToolCallFinishedEvent) -> None:
        self._line("tool", f"{event.name} returned: {event.output}", Style.YELLOW)

    def _line(self, who: str, what: str, style: Style) -> None:
        self._terminal.line(f"{self._terminal.paint(f'{who}>', Style.BOLD, style)} {what.strip()}")
