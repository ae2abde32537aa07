"""Echo: keeps the assistant's own sound out of what the microphone says."""

import logging
from collections.abc import Callable
from typing import cast

from rtvoice.audio.devices import AudioInputDevice, AudioOutputDevice, SupportsTap
from rtvoice.audio.echo.canceller import EchoCanceller
from rtvoice.audio.echo.choice import EchoChoice, EchoMode, default_choice, make_canceller
from rtvoice.audio.echo.half_duplex import HalfDuplex
from rtvoice.audio.taps import let_go
from rtvoice.events import AssistantAudioPlayedEvent, AssistantInterruptedEvent, EventBus
from rtvoice.events.bus import Inbox

logger = logging.getLogger(__name__)

Clean = Callable[[bytes, float], tuple[bytes, float]]
"""Takes what was captured and the loop time of its last sample; returns what of it is ready, and the same of that."""


class Echo:
    """Chooses how echo is dealt with, and gives the chosen way what the loudspeaker renders.

    An output device with a tap shows that; for others, half duplex follows what was handed to it.

    Args:
        bus: The agent's bus.
        setting: The user's choice; ``None``: see `default_choice`.
        microphone: The input device.
        output: The output device.
    """

    hears = (AssistantAudioPlayedEvent, AssistantInterruptedEvent)
    says = ()

    def __init__(
        self,
        bus: EventBus,
        setting: EchoMode | EchoCanceller | None,
        microphone: AudioInputDevice,
        output: AudioOutputDevice,
    ) -> None:
        self._bus = bus
        self._setting = setting
        self._microphone = microphone
        self._output = output
        self._inbox: Inbox | None = None
        self._remove_tap: Callable[[], None] | None = None
        self._half_duplex = HalfDuplex()

    def start(self) -> Clean | None:
        """Begin, once the devices are open; return what the microphone's sound has to pass, ``None`` for nothing."""
        setting = self._setting
        if setting is None:
            choice = default_choice(self._microphone, self._output)
        elif isinstance(setting, str):
            choice = EchoChoice(setting, "it was asked for")
        else:
            logger.info("Echo: %s, it was asked for", type(setting).__name__)
            return self._cancel(setting)
        logger.info("Echo: %s, because %s", choice.mode, choice.reason)
        if choice.mode == "off":
            return None
        if choice.mode == "half_duplex":
            return self._mute()
        return self._cancel(make_canceller(choice.mode))

    def stop(self) -> None:
        """Let go of the output device."""
        let_go(self._remove_tap)
        if self._inbox is not None:
            self._inbox.close()

    async def run(self) -> None:
        """Follow what is handed to an output device without a tap, until `stop`."""
        if self._inbox is None:
            return
        async for event in self._inbox:
            if isinstance(event, AssistantAudioPlayedEvent):
                self._half_duplex.schedule(event.pcm, event.starts_at)
            elif event.cut_at is not None:
                self._half_duplex.cut(event.cut_at)

    def _mute(self) -> Clean:
        if isinstance(self._output, SupportsTap):
            self._remove_tap = self._output.add_tap(self._half_duplex.rendered)
        else:
            self._inbox = self._bus.open_inbox(*self.hears, in_order=True)
        return self._half_duplex.process

    def _cancel(self, canceller: EchoCanceller) -> Clean:
        from rtvoice.audio.echo.cancellation import EchoCancellation  # it needs numpy

        cancellation = EchoCancellation(canceller)
        tapped = cast("SupportsTap", self._output)  # check_echo() and default_choice() have seen to that
        self._remove_tap = tapped.add_tap(cancellation.rendered.add)
        return cancellation.process
