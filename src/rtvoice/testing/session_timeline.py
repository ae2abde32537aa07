"""A recorded session as a person tells it: who said what when, which tools worked, what was interrupted."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rtvoice.events import PlaybackCut
from rtvoice.testing.audio_formats import PCM_BYTES_PER_MS
from rtvoice.testing.recorded_sound import WireFormats, recorded_audio
from rtvoice.testing.session_log import LogLine, SessionRecording

_BYTES_PER_SECOND = 1000 * PCM_BYTES_PER_MS
_JITTER_S = 0.25
"""Audio that arrives at most so much too late follows what came before without a gap."""
_TEXT_DONE = {
    "response.output_audio_transcript.done": "transcript",
    "response.audio_transcript.done": "transcript",
    "response.output_text.done": "text",
    "response.text.done": "text",
}
_TEXT_DELTA = {
    "response.output_audio_transcript.delta", "response.audio_transcript.delta", "response.output_text.delta",
    "response.text.delta",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Utterance:
    """What somebody said. Times are seconds since the log began.

    Attributes:
        who: ``"user"`` or ``"assistant"``.
        start: When it began, for the assistant when it could first be heard.
        end: When it ended.
        text: The words; ``""`` if they are not known.
        written: Whether the user wrote it.
        latency_ms: For an answer: how long the user had waited, from the moment when the end of the turn was noticed.
        played_ms: If it was interrupted: how much was heard.
        heard: The words that were heard, an estimate; ``""`` if it could not be heard at all.
    """

    who: Literal["user", "assistant"]
    start: float
    end: float
    text: str = ""
    written: bool = False
    latency_ms: float | None = None
    played_ms: int | None = None
    heard: str = ""


@dataclass(slots=True, kw_only=True)
class ToolUse:
    """A tool call. Times are seconds since the log began.

    Attributes:
        name: The tool.
        arguments: Its arguments, JSON.
        start: When it began.
        end: When it ended; ``None``: it did not.
        output: What the model was told.
        success: Whether it did what it was asked; ``None``: not known.
    """

    name: str
    arguments: str = ""
    start: float
    end: float | None = None
    output: str | None = None
    success: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that went wrong, or around: an error, a lost or new connection, an interruption.

    Attributes:
        at: When, in seconds since the log began.
        kind: ``"error"``, ``"connection"`` or ``"interruption"``.
        text: What happened.
    """

    at: float
    kind: Literal["error", "connection", "interruption"]
    text: str


@dataclass(slots=True)
class Sound:
    """One side's sound: pieces without gaps, in order.

    Attributes:
        pieces: When each begins, in seconds since the log began, and its audio (PCM16, 24 kHz, mono).
    """

    pieces: list[tuple[float, bytearray]] = field(default_factory=list)

    @property
    def end(self) -> float:
        """When the last piece ends."""
        return self.pieces[-1][0] + len(self.pieces[-1][1]) / _BYTES_PER_SECOND if self.pieces else 0.0

    def add(self, at: float, pcm: bytes) -> float:
        """Add sound that begins at a time, or as soon as what was before it is over; return when it begins."""
        end = self.end
        if not self.pieces or at > end + _JITTER_S:
            self.pieces.append((max(0.0, at), bytearray()))
            end = max(0.0, at)
        self.pieces[-1][1].extend(pcm)
        return end

    def cut(self, at: float) -> None:
        """Drop everything from a time on."""
        while self.pieces and self.end > at:
            start, pcm = self.pieces[-1]
            if start < at:
                del pcm[2 * round((at - start) * _BYTES_PER_SECOND / 2) :]
                return
            self.pieces.pop()


@dataclass(slots=True)
class _AudioClock:
    """The milliseconds by which the server counts the user's audio on one connection, and when those were.

    Attributes:
        sent_ms: How much it was sent.
        pieces: How much it had been sent before each piece, and when that piece began.
    """

    sent_ms: float = 0.0
    pieces: list[tuple[float, float]] = field(default_factory=list)

    def add(self, start: float, length_ms: float) -> None:
        """Add a piece."""
        self.pieces.append((self.sent_ms, start))
        self.sent_ms += length_ms

    def time_of(self, audio_ms: Any, latest: float) -> float:
        """Return when the user made a sound; ``latest`` if that cannot be told."""
        if not isinstance(audio_ms, int | float) or not self.pieces:
            return latest
        ms, at = self.pieces[max(0, bisect_right(self.pieces, (audio_ms, float("inf"))) - 1)]
        return max(0.0, min(latest, at + (audio_ms - ms) / 1000))


@dataclass(slots=True)
class _Answer:
    utterance: Utterance
    texts: dict[str, str] = field(default_factory=dict)
    audible: bool = False


class SessionTimeline:
    """What happened in a recorded session.

    Args:
        recording: The session.

    Attributes:
        recording: The session.
        utterances: What was said, by beginning.
        tools: Tool calls, by beginning.
        incidents: What went wrong or around, by time.
        user: The user's sound.
        assistant: The assistant's, as far as it was heard.
    """

    def __init__(self, recording: SessionRecording) -> None:
        self.recording = recording
        self.utterances: list[Utterance] = []
        self.tools: list[ToolUse] = []
        self.incidents: list[Incident] = []
        self.user = Sound()
        self.assistant = Sound()
        self._user_items: dict[str, Utterance] = {}
        self._answers: dict[str, _Answer] = {}
        self._response_of: dict[str, str] = {}
        self._calls: dict[str, ToolUse] = {}
        self._cuts: dict[str, PlaybackCut] = {}
        self._clocks: defaultdict[int, _AudioClock] = defaultdict(_AudioClock)  # by connection
        self._formats = WireFormats()
        self._uncommitted_since: float | None = None
        self._waiting_since: float | None = None
        for line in recording.lines:
            self._note(line) if line.event else self._server(line) if line.to == "agent" else self._agent(line)
        self._finish()

    @property
    def duration_s(self) -> float:
        """Seconds from the beginning to the last sound or event."""
        return max(self.recording.duration_s, self.user.end, self.assistant.end)

    @property
    def latencies_ms(self) -> list[float]:
        """How long the user waited for each answer, in milliseconds."""
        return [said.latency_ms for said in self.utterances if said.latency_ms is not None]

    # --- from the agent ---

    def _agent(self, line: LogLine) -> None:
        frame = line.frame
        item = _mapping(frame, "item")
        self._formats = self._formats.after(frame)
        if line.type == "input_audio_buffer.append":
            pcm = recorded_audio(line, self._formats.user)
            length_s = len(pcm) / _BYTES_PER_SECOND
            start = self.user.add(line.at - length_s, pcm)
            self._clocks[line.connection].add(start, length_s * 1000)
            if self._uncommitted_since is None:
                self._uncommitted_since = start
        elif item.get("type") == "function_call_output":
            call = self._calls.get(str(item.get("call_id")))
            if call is not None:
                call.output = str(item.get("output", ""))
                call.end = line.at if call.end is None else call.end
        elif item.get("role") == "user" and str(frame.get("event_id")).startswith("message"):
            parts = item.get("content") or []
            words = [str(part.get("text", "(an image)")) for part in parts]
            self.utterances.append(
                Utterance(who="user", start=line.at, end=line.at, text=" ".join(words), written=True)
            )

    def _note(self, line: LogLine) -> None:
        fields = line.fields
        match line.event:
            case "opened":
                if line.connection > 1:
                    self._incident(line.at, "connection", "a new connection")
            case "closed":
                by, reason = fields.get("by"), fields.get("reason") or f"code {fields.get('code')}"
                if by == "server":
                    self._incident(line.at, "connection", f"the server closed the connection: {reason}")
                elif by == "network":
                    self._incident(line.at, "connection", "the connection was lost")
            case "heard":
                self.assistant.add(float(fields.get("starts_at", line.at)), recorded_audio(line))
            case "answer_started":
                self._answer_starts(str(fields.get("response_id")), line.at)
            case "answer_stopped":
                answer = self._answers.get(str(fields.get("response_id")))
                if answer is not None and answer.utterance.played_ms is None:
                    answer.utterance.end = line.at
            case "interrupted":
                self._interrupted(line)
            case "tool_started":
                call = self._call(str(fields.get("call_id")), str(fields.get("name")), line.at)
                call.start = line.at
            case "tool_finished":
                call = self._call(str(fields.get("call_id")), str(fields.get("name")), line.at)
                call.end, call.success = line.at, fields.get("success") is True
            case "watchdog":
                waited = f"{fields.get('watchdog')} stood still for {fields.get('waited_s')} s: {fields.get('action')}"
                self._incident(line.at, "connection", f"watchdog: {waited}")
            case "error":
                self._incident(line.at, "error", str(fields.get("message")))
            case _:
                pass  # the end, and what later versions may add

    def _interrupted(self, line: LogLine) -> None:
        at = line.fields.get("cut_at")
        at = float(at) if at is not None else line.at
        self.assistant.cut(at)
        heard_ms = line.fields.get("played_ms")
        for fields in line.fields.get("cuts") or []:
            cut = PlaybackCut(**fields)
            self._cuts[cut.item_id] = cut
            answer = self._answers.get(self._response_of.get(cut.item_id, ""))
            if answer is not None and answer.audible:
                answer.utterance.end, answer.utterance.played_ms = at, cut.played_ms
        seconds = f"after {heard_ms / 1000:.2f} s" if isinstance(heard_ms, int) else "before it could be heard"
        self._incident(at, "interruption", f"the assistant was interrupted {seconds}")

    def _answer_starts(self, response_id: str, at: float) -> None:
        answer = self._answer(response_id, at)
        answer.audible = True
        answer.utterance.start = answer.utterance.end = at
        if self._waiting_since is not None:
            answer.utterance.latency_ms = (at - self._waiting_since) * 1000
            self._waiting_since = None

    # --- from the server ---

    def _server(self, line: LogLine) -> None:
        frame, item_id = line.frame, str(line.frame.get("item_id", ""))
        clock = self._clocks[line.connection]
        match line.type:
            case "input_audio_buffer.speech_started":
                start = clock.time_of(frame.get("audio_start_ms"), line.at)
                self._user_item(item_id, start)
                self._waiting_since = None
            case "input_audio_buffer.speech_stopped":
                self._user_item(item_id, line.at).end = clock.time_of(frame.get("audio_end_ms"), line.at)
                self._waiting_since = line.at
            case "input_audio_buffer.committed":
                if item_id not in self._user_items:  # by hand: no turn detection has told when it began
                    since = self._uncommitted_since
                    self._user_item(item_id, line.at if since is None else since).end = line.at
                    self._waiting_since = line.at
                self._uncommitted_since = None
            case "conversation.item.input_audio_transcription.completed":
                self._user_item(item_id, line.at).text = str(frame.get("transcript", "")).strip()
            case "response.output_item.added" | "response.output_item.done":
                self._output_item(line)
            case "response.function_call_arguments.done":
                call_id, name = str(frame.get("call_id")), str(frame.get("name", ""))
                self._call(call_id, name, line.at).arguments = str(frame.get("arguments", ""))
            case kind if kind in _TEXT_DONE or kind in _TEXT_DELTA:
                answer = self._answer(str(frame.get("response_id")), line.at)
                self._response_of[item_id] = str(frame.get("response_id"))
                if kind in _TEXT_DONE:
                    answer.texts[item_id] = str(frame.get(_TEXT_DONE[kind], ""))
                else:
                    answer.texts[item_id] = answer.texts.get(item_id, "") + str(frame.get("delta", ""))
            case _:
                pass  # nothing that a person would notice

    def _output_item(self, line: LogLine) -> None:
        item = _mapping(line.frame, "item")
        call_id = str(item.get("call_id") or item.get("id"))
        if item.get("type") == "function_call":
            call = self._call(call_id, str(item.get("name")), line.at)
            call.arguments = str(item.get("arguments") or call.arguments)
        elif item.get("type") == "mcp_call":  # the server works on it itself
            call = self._call(call_id, str(item.get("name")), line.at)
            call.arguments = str(item.get("arguments") or call.arguments)
            if line.type.endswith(".done"):
                call.end, call.success = line.at, not item.get("error")
                call.output = str(item.get("error") or item.get("output") or "")

    # --- what is known of whom ---

    def _user_item(self, item_id: str, at: float) -> Utterance:
        if item_id not in self._user_items:
            self._user_items[item_id] = said = Utterance(who="user", start=at, end=at)
            self.utterances.append(said)
        return self._user_items[item_id]

    def _answer(self, response_id: str, at: float) -> _Answer:
        if response_id not in self._answers:
            self._answers[response_id] = _Answer(Utterance(who="assistant", start=at, end=at))
        return self._answers[response_id]

    def _call(self, call_id: str, name: str, at: float) -> ToolUse:
        if call_id not in self._calls:
            self._calls[call_id] = call = ToolUse(name=name, start=at)
            self.tools.append(call)
        return self._calls[call_id]

    def _incident(self, at: float, kind: Literal["error", "connection", "interruption"], text: str) -> None:
        self.incidents.append(Incident(at=at, kind=kind, text=text))

    def _finish(self) -> None:
        for answer in self._answers.values():
            said = answer.utterance
            said.text = " ".join(text.strip() for text in answer.texts.values())
            if answer.audible:
                words = (self._heard(item_id, text) for item_id, text in answer.texts.items())
                said.heard = " ".join(word for word in words if word)
            if said.text or answer.audible:
                self.utterances.append(said)
        for said in self.utterances:
            if said.who == "user":
                said.heard = said.text
        self.utterances.sort(key=lambda said: said.start)
        self.tools.sort(key=lambda call: call.start)
        self.incidents.sort(key=lambda incident: incident.at)

    def _heard(self, item_id: str, text: str) -> str:
        text = text.strip()
        return self._cuts[item_id].heard_of(text) if item_id in self._cuts else text


def _mapping(frame: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object of a frame; servers may send anything."""
    found = frame.get(key)
    return found if isinstance(found, Mapping) else {}
