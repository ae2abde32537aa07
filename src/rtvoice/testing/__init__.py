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
    from rtvoice.testing.broken_network import RefusingProxy, name_lookup_fails
    from rtvoice.testing.chat_model import ScriptedChatModel
    from rtvoice.testing.clock import VirtualClockLoop
    from rtvoice.testing.echoing_room import EchoingRoom, TappedSpeaker
    from rtvoice.testing.emulator import EmulatorProvider, RealtimeEmulator
    from rtvoice.testing.faults import (
        ClockSkew,
        Delays,
        Duplicate,
        Faults,
        FrameFault,
        Malform,
        StartRefusal,
        Swap,
        WrongTypes,
    )
    from rtvoice.testing.microphone import VirtualMicrophone
    from rtvoice.testing.observations import Answer, CalledTool
    from rtvoice.testing.pausable_speaker import PausableSpeaker
    from rtvoice.testing.quirks import Quirks
    from rtvoice.testing.rehearsal import Devices, Rehearsal
    from rtvoice.testing.replay import Difference, Replay, ReplayDiverged
    from rtvoice.testing.script import (
        Hold,
        McpCall,
        Reply,
        ReplyFailed,
        ReplyRequest,
        Spoken,
        StreamedReply,
        ToolCall,
        Transcript,
        UserTurn,
    )
    from rtvoice.testing.scripted_user import ScriptedUser
    from rtvoice.testing.session import EmulatedSession
    from rtvoice.testing.speaker import PositionedSpeaker, VirtualSpeaker
    from rtvoice.testing.trial import rehearse_or_run

_HOMES = {
    "broken_network": ("RefusingProxy", "name_lookup_fails"),
    "chat_model": ("ScriptedChatModel",),
    "clock": ("VirtualClockLoop",),
    "echoing_room": ("EchoingRoom", "TappedSpeaker"),
    "emulator": ("EmulatorProvider", "RealtimeEmulator"),
    "faults": (
        "ClockSkew",
        "Delays",
        "Duplicate",
        "Faults",
        "FrameFault",
        "Malform",
        "StartRefusal",
        "Swap",
        "WrongTypes",
    ),
    "microphone": ("VirtualMicrophone",),
    "observations": ("Answer", "CalledTool"),
    "pausable_speaker": ("PausableSpeaker",),
    "quirks": ("Quirks",),
    "rehearsal": ("Devices", "Rehearsal"),
    "replay": ("Difference", "Replay", "ReplayDiverged"),
    "script": (
        "Hold",
        "McpCall",
        "Reply",
        "ReplyFailed",
        "ReplyRequest",
        "Spoken",
        "StreamedReply",
        "ToolCall",
        "Transcript",
        "UserTurn",
    ),
    "scripted_user": ("ScriptedUser",),
    "session": ("EmulatedSession",),
    "speaker": ("PositionedSpeaker", "VirtualSpeaker"),
    "trial": ("rehearse_or_run",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "CalledTool",
    "ClockSkew",
    "Delays",
    "Devices",
    "Difference",
    "Duplicate",
    "EchoingRoom",
    "EmulatedSession",
    "EmulatorProvider",
    "Faults",
    "FrameFault",
    "Hold",
    "Malform",
    "McpCall",
    "PausableSpeaker",
    "PositionedSpeaker",
    "Quirks",
    "RealtimeEmulator",
    "RefusingProxy",
    "Rehearsal",
    "Replay",
    "ReplayDiverged",
    "Reply",
    "ReplyFailed",
    "ReplyRequest",
    "ScriptedChatModel",
    "ScriptedUser",
    "Spoken",
    "StartRefusal",
    "StreamedReply",
    "Swap",
    "TappedSpeaker",
    "ToolCall",
    "Transcript",
    "UserTurn",
    "VirtualClockLoop",
    "VirtualMicrophone",
    "VirtualSpeaker",
    "WrongTypes",
    "name_lookup_fails",
    "rehearse_or_run",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
