"""A room in which the microphone hears the loudspeaker."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from rtvoice.audio.taps import Tap, Taps
from rtvoice.testing.microphone import VirtualMicrophone
from rtvoice.testing.speaker import PositionedSpeaker


@dataclass(slots=True, kw_only=True, eq=False)
class TappedSpeaker(PositionedSpeaker):
    """A ``PositionedSpeaker`` that shows what it renders (``rtvoice.audio.devices.SupportsTap``), while it is asked to.

    Its clock is the microphone of an `EchoingRoom`, which asks for each 20 ms.
    """

    _taps: Taps = field(default_factory=Taps, init=False)

    def add_tap(self, tap: Tap) -> Callable[[], None]:
        """Have ``tap(pcm, at)`` called for all that is rendered, silence too."""
        return self._taps.add(tap)

    def render(self, starts_at: float, samples: int) -> bytes:
        """Return what sounds from a loop time on, and show it to the taps."""
        pcm = self.sound_between(starts_at, samples)
        self._taps.send(pcm, starts_at, asyncio.get_running_loop())
        return pcm


class EchoingRoom:
    """A room in which ``microphone`` hears ``speaker`` besides what it is told to say: delayed, and with reverberation.

    Example::

        room = EchoingRoom(level_db=-12)
        agent = RealtimeAgent(audio_input=room.microphone, audio_output=room.speaker, echo="builtin", ...)

    Needs numpy.

    Args:
        delay_ms: Time until the echo's first sound, in milliseconds.
        level_db: Energy of the echo relative to what is played, in dB: -12 is a laptop, 0 a loud speakerphone.
        rt60_s: Reverberation time, in seconds.
        seed: Which room it is.

    Attributes:
        microphone: What hears the user and the echo.
        speaker: Where the assistant is heard.
        echoes: Whether there is an echo; may be changed at any time.
    """

    def __init__(self, *, delay_ms: float = 40, level_db: float = -12, rt60_s: float = 0.25, seed: int = 0) -> None:
        from rtvoice.audio.room import Room  # it needs numpy, which only sound needs

        self.microphone = VirtualMicrophone()
        self.microphone.surroundings = self._sound
        self.speaker = TappedSpeaker()
        self.echoes = True
        self._room = Room(delay_ms=delay_ms, level_db=level_db, rt60_s=rt60_s, seed=seed)

    def _sound(self, starts_at: float, samples: int) -> bytes:
        echo = self._room.echo(self.speaker.render(starts_at, samples))
        return echo if self.echoes else bytes(len(echo))
