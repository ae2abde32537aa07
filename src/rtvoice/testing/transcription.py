"""Transcription of what the user said: events that run beside everything else (protocol page, section 3.5)."""

import asyncio
import math
import re
from typing import TYPE_CHECKING, Any

from rtvoice.testing.conversation import Item
from rtvoice.testing.script import Transcript
from rtvoice.testing.session_rules import STREAMING_TRANSCRIBERS
from rtvoice.testing.usage import USER_AUDIO_MS_PER_TOKEN, text_tokens

if TYPE_CHECKING:
    from rtvoice.testing.session import EmulatedSession

_BILLED_BY_DURATION = ("whisper-1", *STREAMING_TRANSCRIBERS)
_EVENT = "conversation.item.input_audio_transcription"
_LOGPROBS = "item.input_audio_transcription.logprobs"
_CERTAIN = -0.01
"""Log probability reported for every word: the script is nearly sure of itself."""


async def transcribe(
    session: "EmulatedSession", item: Item, transcript: Transcript, *, already_sent: str, model: str
) -> None:
    """Send the transcription events of one committed turn.

    Args:
        session: Where to send them.
        item: The user's item.
        transcript: What is in it.
        already_sent: The beginning that was transcribed before the commit.
        model: The transcription model.
    """
    await asyncio.sleep(transcript.delay_s)
    place = {"item_id": item.id, "content_index": 0}
    if transcript.error is not None:
        session.emit(f"{_EVENT}.failed", **place, error=dict(transcript.error))
        return
    with_logprobs = _LOGPROBS in (session.config["include"] or ())
    rest = transcript.text.removeprefix(already_sent)
    # whisper-1 sends everything in one delta.
    words = [rest] if model == "whisper-1" else re.findall(r"\s*\S+\s*", rest)
    for word in filter(None, words):
        extra = {"logprobs": _logprobs(word)} if with_logprobs else {}
        session.emit(f"{_EVENT}.delta", **place, delta=word, **extra)
        await asyncio.sleep(0)
    for number, segment in enumerate(transcript.segments, 1):
        session.emit(f"{_EVENT}.segment", **place, **{"id": f"seg_{number:04}", **segment})
    item.data["content"][0]["transcript"] = transcript.text
    completed: dict[str, Any] = {"transcript": transcript.text, "usage": _usage(item, transcript.text, model)}
    if transcript.language is not None:
        completed["languages"] = [{"code": transcript.language}]
    if with_logprobs:
        completed["logprobs"] = [entry for word in transcript.text.split() for entry in _logprobs(word)]
    session.emit(f"{_EVENT}.completed", **place, **completed)


def _logprobs(word: str) -> list[dict[str, Any]]:
    return [{"token": word, "bytes": list(word.encode()), "logprob": _CERTAIN}]


def _usage(item: Item, text: str, model: str) -> dict[str, Any]:
    milliseconds = item.audio_ms()
    if model in _BILLED_BY_DURATION:
        # Every commit is rounded up to a whole second (protocol page, section 9.1).
        return {"type": "duration", "seconds": math.ceil(milliseconds / 1000)}
    heard, written = milliseconds // USER_AUDIO_MS_PER_TOKEN, text_tokens(text)
    return {
        "type": "tokens",
        "total_tokens": heard + written,
        "input_tokens": heard,
        "output_tokens": written,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
    }
