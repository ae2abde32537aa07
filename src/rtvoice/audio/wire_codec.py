"""G.711 between a telephone line and a session that speaks it too: every sample passes through untouched.

Inside rtvoice all audio is PCM16 at 24 kHz, three samples for each one of G.711. The third of them is the line's own,
the two before it lead there in a straight line; so going back is taking every third, without loss and without delay.
(The straight line lets images of the sound above 4 kHz through, which only recordings of such a call contain.)
"""

import numpy as np

from rtvoice.audio import g711
from rtvoice.audio.formats import AudioFormat
from rtvoice.audio.pcm import samples_in

_STEPS = np.array([1, 2, 3], np.int32)


class G711Codec:
    """One direction of a call: G.711 on the wire, PCM16 at 24 kHz inside.

    Args:
        audio_format: ``AudioFormat.MULAW`` or ``AudioFormat.ALAW``.

    Attributes:
        name: What the Realtime API calls it.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._law: g711.Law = "mulaw" if audio_format is AudioFormat.MULAW else "alaw"
        self.name = "audio/pcmu" if audio_format is AudioFormat.MULAW else "audio/pcma"
        self._stream: object = self  # of no stream yet
        self._last = 0

    def encode(self, pcm: bytes) -> bytes:
        """Return a third of the samples as G.711: at least one, and those that `decode` has made it of."""
        samples = np.frombuffer(pcm, "<i2", samples_in(pcm))
        thirds = samples[2::3] if len(samples) > 2 else samples[-1:]
        return g711.encode(np.ascontiguousarray(thirds).tobytes(), self._law)

    def decode(self, audio: bytes, stream: object = None) -> bytes:
        """Return three samples for each byte.

        Args:
            audio: G.711.
            stream: What it is a part of; the first sample of another stream is not led to from the last one of this.
        """
        levels = np.frombuffer(g711.decode(audio, self._law), "<i2").astype(np.int32)
        if not len(levels):
            return b""
        if stream != self._stream:
            self._stream, self._last = stream, int(levels[0])
        before = np.concatenate(([self._last], levels[:-1]))
        self._last = int(levels[-1])
        line = np.empty((len(levels), 3), "<i2")
        line[:] = before[:, None] + (levels - before)[:, None] * _STEPS // 3
        return line.tobytes()
