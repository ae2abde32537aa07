"""What the assistant says: its audio and text become facts, and it is known how much audio came of each item."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from rtvoice.events import (
    AssistantAudioCompletedEvent,
    AssistantAudioReceivedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AssistantTranscriptChunkReceivedEvent,
    AssistantTranscriptCompletedEvent,
    AssistantTranscriptDeltaEvent,
    Event,
    PlaybackCut,
    ResponseFinishedEvent,
)
from rtvoice.realtime import server_events
from rtvoice.realtime.audio_codec import AudioCodec

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED: Final = 1_000
"""Items and responses whose state is kept; the oldest are forgotten."""

MAX_CHARACTERS: Final = 60_000
"""Text of one message that is kept until it is complete; what goes beyond is only passed on."""

_BYTES_PER_MS: Final = 48  # PCM16, 24 kHz, mono


@dataclass(slots=True)
class _Unfinished:
    response_id: str
    output_index: int
    text: str = ""


class AssistantOutput:
    """The output side of a session.

    Args:
        emit: Takes the facts.
        speaks: Whether the assistant answers in sound. If not, the text itself is what starts and stops.
        codec: What its audio comes in; ``None``: PCM16 at 24 kHz.
    """

    def __init__(self, emit: Callable[[Event], None], *, speaks: bool, codec: AudioCodec | None = None) -> None:
        self._emit = emit
        self._speaks = speaks
        self._codec = codec
        self._received: OrderedDict[tuple[str, int], int] = OrderedDict()  # bytes of audio per item and content part
        self._truncated: OrderedDict[tuple[str, int], int] = OrderedDict()  # milliseconds that are left of them
        self._sounding: OrderedDict[str, None] = OrderedDict()  # responses that have audio
        self._writing: OrderedDict[str, None] = OrderedDict()  # responses in text that have begun
        self._muted: OrderedDict[str, None] = OrderedDict()  # responses that nobody shall hear
        self._beside: OrderedDict[str, None] = OrderedDict()  # responses beside the conversation
        self._unfinished: OrderedDict[tuple[str, int], _Unfinished] = OrderedDict()  # texts that are not complete

    def mute(self, response_id: str) -> None:
        """Let nobody hear a response."""
        _remember(self._muted, response_id, None)

    def is_beside_conversation(self, response_id: str) -> None:
        """Note that a response's items are not in the conversation, so that there is nothing to truncate."""
        _remember(self._beside, response_id, None)

    def has_begun(self, response_id: str) -> bool:
        """Whether something of a running response was passed on that the user hears, or reads."""
        return response_id in self._sounding or response_id in self._writing

    def finish(self, response: server_events.Response) -> None:
        """Note that a response is over."""
        self._muted.pop(response.id, None)
        if response.id in self._writing:
            del self._writing[response.id]
            self._emit(AssistantStoppedRespondingEvent(response_id=response.id))
        has_audio = response.id in self._sounding
        self._sounding.pop(response.id, None)
        self._emit(
            ResponseFinishedEvent(
                response_id=response.id,
                status=response.status,
                reason=response.status_details.reason if response.status_details else None,
                has_audio=has_audio,
                usage=response.usage or {},
            )
        )

    def connection_lost(self, running: Sequence[str]) -> None:
        """Note that the session is gone, with all its items and in the middle of these responses.

        What they have said so far is passed on as all that they will ever say: as far as the sound came, which the
        words run ahead of.
        """
        for (item_id, content_index), message in self._unfinished.items():
            if message.response_id not in running:
                continue
            text = message.text
            if self._speaks and message.response_id not in self._beside:
                received_ms = self._received.get((item_id, content_index), 0) // _BYTES_PER_MS
                received = PlaybackCut(
                    item_id=item_id, content_index=content_index, played_ms=received_ms, received_ms=received_ms
                )
                text = received.heard_of(text)
            if text:
                self._emit(
                    AssistantTranscriptCompletedEvent(
                        text, item_id, message.output_index, content_index, response_id=message.response_id
                    )
                )
        for response_id in running:
            details = server_events.StatusDetails(reason="connection_lost")
            self.finish(server_events.Response(id=response_id, status="incomplete", status_details=details))
        self._unfinished.clear()
        self._received.clear()
        self._truncated.clear()

    def truncation_point(self, item_id: str, content_index: int, played_ms: int) -> int | None:
        """Return where the server shall truncate an item of which so much was heard, in milliseconds.

        From then on the item is that long, whatever else arrives of it.

        Returns:
            The point, not beyond the audio received; ``None`` if there is nothing to truncate: no audio was
            received, which the server would object to, or the item is that short already.
        """
        place = (item_id, content_index)
        received_ms = self._received.get(place, 0) // _BYTES_PER_MS
        point = max(0, min(played_ms, received_ms))
        if not item_id or not received_ms or point >= self._truncated.get(place, received_ms + 1):
            return None
        _remember(self._truncated, place, point)
        return point

    def audio_delta(self, event: server_events.AudioDelta) -> bool:
        """Pass on audio; return whether there was any that may be heard."""
        if event.response_id in self._muted or not event.delta:
            return False
        if self._codec is not None:
            pcm = self._codec.decode(event.delta, (event.item_id, event.content_index))
            event = event.model_copy(update={"delta": pcm})
        if event.response_id in self._beside:
            self._pass_on_audio(event)
            return True
        place = (event.item_id, event.content_index)
        _remember(self._received, place, self._received.get(place, 0) + len(event.delta))
        self._pass_on_audio(event)
        return True

    def _pass_on_audio(self, event: server_events.AudioDelta) -> None:
        if event.response_id not in self._sounding:
            _remember(self._sounding, event.response_id, None)
        self._emit(
            AssistantAudioReceivedEvent(
                pcm=event.delta,
                response_id=event.response_id,
                item_id=event.item_id,
                content_index=event.content_index,
            )
        )

    def audio_done(self, event: server_events.AudioDone) -> None:
        """Pass on that the audio of an item is complete."""
        if event.response_id not in self._muted:
            self._emit(
                AssistantAudioCompletedEvent(
                    response_id=event.response_id, item_id=event.item_id, content_index=event.content_index
                )
            )

    def text_delta(self, event: server_events.TextDelta) -> None:
        """Pass on a piece of text or transcript."""
        if event.response_id in self._muted or not event.delta:
            return
        if not self._speaks and event.response_id not in self._writing:
            _remember(self._writing, event.response_id, None)
            self._emit(AssistantStartedRespondingEvent(response_id=event.response_id))
        place = (event.item_id, event.content_index)
        message = self._unfinished.get(place) or _Unfinished(event.response_id, event.output_index)
        message.text += event.delta[: MAX_CHARACTERS - len(message.text)]
        _remember(self._unfinished, place, message)
        self._emit(
            AssistantTranscriptDeltaEvent(
                event.delta, event.item_id, event.output_index, event.content_index, response_id=event.response_id
            )
        )
        self._emit(AssistantTranscriptChunkReceivedEvent(event.delta))

    def transcript_done(self, event: server_events.TranscriptDone) -> None:
        """Pass on the whole transcript of an item."""
        self._message_done(event, event.transcript)

    def text_done(self, event: server_events.TextDone) -> None:
        """Pass on the whole text of an item."""
        self._message_done(event, event.text)

    def _message_done(self, event: server_events.TranscriptDone | server_events.TextDone, text: str) -> None:
        message = self._unfinished.pop((event.item_id, event.content_index), None)
        if not text and message is not None:
            text = message.text  # the server has said it piece by piece, and now nothing that we can read
        if event.response_id not in self._muted:
            self._emit(
                AssistantTranscriptCompletedEvent(
                    text, event.item_id, event.output_index, event.content_index, response_id=event.response_id
                )
            )


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
