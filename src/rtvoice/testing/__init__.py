"""Test a voice agent without network, sound card or API key.

``RealtimeEmulator`` is a real WebSocket server on loopback that keeps the rules of the OpenAI Realtime API and says
what the test scripts. ``VirtualMicrophone`` and ``VirtualSpeaker`` are audio devices that count samples,
``VirtualClockLoop`` is an event loop whose time jumps, so that minutes of conversation pass in milliseconds.
``ScriptedChatModel`` thinks for a ``Supervisor``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtvoice.testing.chat_model import ScriptedChatModel
    from rtvoice.testing.clock import VirtualClockLoop
    from rtvoice.testing.emulator import EmulatorProvider, RealtimeEmulator
    from rtvoice.testing.faults import Duplicate, Faults, FrameFault, Malform, StartRefusal, Swap
    from rtvoice.testing.microphone import VirtualMicrophone
    from rtvoice.testing.quirks import Quirks
    from rtvoice.testing.script import Hold, McpCall, Reply, ReplyRequest, ToolCall, Transcript, UserTurn
    from rtvoice.testing.session import EmulatedSession
    from rtvoice.testing.speaker import PositionedSpeaker, VirtualSpeaker

_HOMES = {
    "chat_model": ("ScriptedChatModel",),
    "clock": ("VirtualClockLoop",),
    "emulator": ("EmulatorProvider", "RealtimeEmulator"),
    "faults": ("Duplicate", "Faults", "FrameFault", "Malform", "StartRefusal", "Swap"),
    "microphone": ("VirtualMicrophone",),
    "quirks": ("Quirks",),
    "script": ("Hold", "McpCall", "Reply", "ReplyRequest", "ToolCall", "Transcript", "UserTurn"),
    "session": ("EmulatedSession",),
    "speaker": ("PositionedSpeaker", "VirtualSpeaker"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Duplicate",
    "EmulatedSession",
    "EmulatorProvider",
    "Faults",
    "FrameFault",
    "Hold",
    "Malform",
    "McpCall",
    "PositionedSpeaker",
    "Quirks",
    "RealtimeEmulator",
    "Reply",
    "ReplyRequest",
    "ScriptedChatModel",
    "StartRefusal",
    "Swap",
    "ToolCall",
    "Transcript",
    "UserTurn",
    "VirtualClockLoop",
    "VirtualMicrophone",
    "VirtualSpeaker",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
