"""What the session is to be: its configuration, the changes since, and which of them the server refused."""

from collections import OrderedDict
from dataclasses import replace
from typing import Any, Final

from rtvoice.realtime import client_events
from rtvoice.realtime.client_events import SessionConfig
from rtvoice.realtime.outbox import Outbox

REMEMBERED: Final = 100
"""Changes that can be taken back if the server refuses them; older ones count as accepted."""


class SessionSettings:
    """Sends changes of the configuration, and knows what holds if any of them is refused.

    Args:
        config: What the session is to be at first.
        outbox: Takes the frames.

    Attributes:
        current: What it is to be now.
        revision: Grows with every change.
    """

    def __init__(self, config: SessionConfig, outbox: Outbox) -> None:
        self.current = config
        self.revision = 0
        self._outbox = outbox
        self._settled = config  # with all that can no longer be refused
        self._changes: OrderedDict[str, dict[str, Any]] = OrderedDict()  # by event, in order
        self._sent = False  # the configuration went out: from now on changes are sent
        self._held_speed: float | None = None
        self._sent_speed: tuple[str, float] | None = None

    @property
    def holds_speed(self) -> bool:
        """Whether a speech speed waits to be sent."""
        return self._held_speed is not None

    def send_all(self) -> None:
        """Send the whole configuration, as the first frame of a session."""
        self._outbox.put(client_events.full_session_update(self._outbox.new_id("config"), self.begin()))

    def begin(self) -> SessionConfig:
        """Return the whole configuration, as the first frame of a session says it; then only changes are sent."""
        for change in self._changes.values():
            self._settled = replace(self._settled, **change)
        self._changes.clear()
        if self._held_speed is not None:
            self._settled = replace(self._settled, speech_speed=self._held_speed)
        self._held_speed = self._sent_speed = None
        self.current, self._sent = self._settled, True
        return self.current

    def update_instructions(self, instructions: str) -> None:
        """Replace the instructions."""
        event_id = self._change("instructions", instructions=instructions)
        self._put(client_events.session_update(event_id, instructions=instructions))

    def update_tool_choice(self, tool_choice: str) -> None:
        """Say whether tools may, must or must not be called."""
        event_id = self._change("tools", tool_choice=tool_choice)
        self._put(client_events.session_update(event_id, tool_choice=tool_choice))

    def update_tools(self, tools: list[dict[str, Any]]) -> None:
        """Replace the tools."""
        event_id = self._change("tools", tools=tools)
        self._put(client_events.session_update(event_id, tools=tools))

    def hold_speed(self, speed: float) -> None:
        """Note a speech speed: the server takes it only while no response runs."""
        self._held_speed = speed
        self.revision += 1

    def send_speed(self) -> None:
        """Send the speech speed that waits; no response runs."""
        if self._held_speed is None:
            return
        speed, self._held_speed = self._held_speed, None
        event_id = self._change("speed", speech_speed=speed)
        self._put(client_events.speed_update(event_id, speed))
        self._sent_speed = (event_id, speed)

    def speed_came_too_late(self, event_id: str | None) -> bool:
        """Note a refusal while a response runs: if it is the speed's, that waits again, and nobody need know."""
        if self._sent_speed is None or event_id != self._sent_speed[0]:
            return False
        if self._held_speed is None:
            self._held_speed = self._sent_speed[1]
        return True

    def refuse(self, event_id: str | None) -> None:
        """Note that the server refused an event; if it was a change, what held without it holds again."""
        if self._changes.pop(event_id or "", None) is None:
            return
        self.revision += 1
        self.current = self._settled
        for change in self._changes.values():
            self.current = replace(self.current, **change)

    def _change(self, purpose: str, **settings: Any) -> str:
        event_id = self._outbox.new_id(purpose)
        self.revision += 1
        self._changes[event_id] = settings
        if len(self._changes) > REMEMBERED:
            _, oldest = self._changes.popitem(last=False)
            self._settled = replace(self._settled, **oldest)
        self.current = replace(self.current, **settings)
        return event_id

    def _put(self, frame: bytes) -> None:
        if self._sent:
            self._outbox.put(frame)
