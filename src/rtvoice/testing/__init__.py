"""Test a voice agent without network, sound card or API key.

``RealtimeEmulator`` is a real WebSocket server on loopback that keeps the rules of the OpenAI Realtime API and says
what the test scripts. ``VirtualMicrophone`` and ``VirtualSpeaker`` are audio devices that count samples,
``VirtualClockLoop`` is an event loop whose time jumps, so that minutes of conversation pass in milliseconds.
``Rehearsal`` puts them together and adds a user who speaks, listens and interrupts as the test says.
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
    from rtvoice.testing.observations import Answer, CalledTool
    from rtvoice.testing.quirks import Quirks
    from rtvoice.testing.rehearsal import Devices, Rehearsal
    from rtvoice.testing.script import Hold, McpCall, Reply, ReplyRequest, ToolCall, Transcript, UserTurn
    from rtvoice.testing.scripted_user import ScriptedUser
    from rtvoice.testing.session import EmulatedSession
    from rtvoice.testing.speaker import PositionedSpeaker, VirtualSpeaker
    from rtvoice.testing.trial import rehearse_or_run

_HOMES = {
    "chat_model": ("ScriptedChatModel",),
    "clock": ("VirtualClockLoop",),
    "emulator": ("EmulatorProvider", "RealtimeEmulator"),
    "faults": ("Duplicate", "Faults", "FrameFault", "Malform", "StartRefusal", "Swap"),
    "microphone": ("VirtualMicrophone",),
    "observations": ("Answer", "CalledTool"),
    "quirks": ("Quirks",),
    "rehearsal": ("Devices", "Rehearsal"),
    "script": ("Hold", "McpCall", "Reply", "ReplyRequest", "ToolCall", "Transcript", "UserTurn"),
    "scripted_user": ("ScriptedUser",),
    "session": ("EmulatedSession",),
    "speaker": ("PositionedSpeaker", "VirtualSpeaker"),
    "trial": ("rehearse_or_run",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "CalledTool",
    "Devices",
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
    "Rehearsal",
    "Reply",
    "ReplyRequest",
    "ScriptedChatModel",
    "ScriptedUser",
    "StartRefusal",
    "Swap",
    "ToolCall",
    "Transcript",
    "UserTurn",
    "VirtualClockLoop",
    "VirtualMicrophone",
    "VirtualSpeaker",
    "rehearse_or_run",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
