"""Self-echo: is what the microphone hears the assistant's own voice, coming back from the loudspeaker?

The sound of both is compared as short-time levels in bands of the voice, on a logarithmic scale, because that survives
what a room does to it: an unknown delay, an unknown level, a loudspeaker's colour, reverberation.

1. The delay is the one at which the levels of the last two seconds go together best (correlation over time and bands).
   Somebody else's speech goes together with the assistant's at no delay. Short stretches can by chance: they count only
   at the delay that a long one has shown before.
2. At that delay, each band's coupling is how much weaker the microphone hears it than it was played.
3. What is louder now than the coupling explains, by a margin, is somebody else: a user who speaks over the assistant.

Nothing is computed until the question is asked; until then both sounds are only kept.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rtvoice.audio.pcm import SAMPLE_RATE, ms_to_samples, samples_in

_Floats = npt.NDArray[np.float32]

MEMORY_S: Final = 3.5
"""How much of both sounds is kept."""
LONGEST_DELAY_MS: Final = 700
"""The longest way from the reference to the microphone that is looked for: room, devices and their buffers."""
RECENT_MS: Final = 240
"""What "now" means: the stretch whose sound has to be explained."""

_HOP_MS: Final = 10
_HOP: Final = ms_to_samples(_HOP_MS)
_FFT: Final = 512
_WINDOW: Final = np.hanning(_FFT).astype(np.float32)
_EARLIEST: Final = -4  # hops: a reference that claims to be later than it is heard
_LATEST: Final = LONGEST_DELAY_MS // _HOP_MS
_FRAMES: Final = 200  # hops of the microphone that are compared
_RECENT: Final = RECENT_MS // _HOP_MS
_JITTER: Final = ms_to_samples(60)
_EDGES_HZ: Final = (150, 300, 450, 600, 800, 1050, 1350, 1750, 2250, 2900, 3700)
_DECAY_DB: Final = 1.3  # per hop: a room that rings for 0.46 s
_SILENCE_DB: Final = -62.0  # what is weaker counts as silence
_NOISE_RANK: Final = 0.1
_LOUDEST_NOISE_DB: Final = -45.0  # in one band; a voice without pauses is no noise
_HEADROOM_DB: Final = 6.0
_MARGIN_DB: Final = 8.0
_UNKNOWN_COUPLING_DB: Final = -100.0  # explains nothing

MIN_CORRELATION: Final = 0.6
"""From here on the two sounds count as the same."""
MAX_UNEXPLAINED: Final = 0.2
"""Share of what is heard now that may be louder than the echo explains."""
_MIN_ACTIVE: Final = 12  # hops with sound that an opinion needs
_LONG: Final = 64  # hops of the reference, half as many of the microphone, that show a delay for the first time
_SHIFT_TOLERANCE: Final = 3  # hops
_USUAL_DELAY: Final = 20  # hops: most echoes have come back by then
_MIN_KNOWN: Final = 4  # hops with sound in both that a band's coupling needs
_COUPLING_RANK: Final = 0.4  # below the middle: what a user says on top only raises levels


@dataclass(frozen=True, slots=True)
class Hearing:
    """What the microphone hears, compared with what was played.

    Attributes:
        correlation: How well the levels of both go together at the best delay, -1 to 1; 0 without enough sound.
        delay_ms: That delay, in milliseconds.
        unexplained: Share of the sound of the last `RECENT_MS` that is too loud to be the echo, 0 to 1.
        foreign_ms: For how long, since the moment that was asked about, there was sound that is not the echo.
        quiet_ms: For how long there has been none.
        is_echo: Whether what is heard now is the echo and nothing else.
        is_certain: Whether that can be told: not in the first moments of the first answer.
    """

    correlation: float
    delay_ms: int
    unexplained: float
    foreign_ms: int
    quiet_ms: int
    is_echo: bool
    is_certain: bool


class SelfEchoDetector:
    """Keeps the last seconds of what was played and what was heard, and compares them when asked."""

    def __init__(self) -> None:
        self._played = _Line()
        self._heard = _Line()
        self._known_shift: int | None = None  # of the last long stretch of echo
        self._was_without_echo = False  # there was a long stretch that did not come back: headphones

    def played(self, pcm: bytes, at: float) -> None:
        """Take in a block that the loudspeaker renders.

        Args:
            pcm: PCM16, 24 kHz, mono.
            at: Loop time of its first sample, in seconds.
        """
        self._played.place(pcm, at)

    def heard(self, pcm: bytes, until: float) -> None:
        """Take in a block of the microphone.

        Args:
            pcm: PCM16, 24 kHz, mono.
            until: Loop time of its end, in seconds; a microphone that delivers late only adds to the delay.
        """
        self._heard.place(pcm, until - samples_in(pcm) / SAMPLE_RATE)

    def examine(self, since: float) -> Hearing:
        """Compare what was heard up to now with what was played; takes about two milliseconds.

        Args:
            since: Loop time from which on ``foreign_ms`` counts, at most two seconds ago.
        """
        end = self._heard.end
        heard = _levels(self._heard.take(end, _FRAMES))
        noise = np.clip(np.quantile(heard, _NOISE_RANK, axis=0), _SILENCE_DB, _LOUDEST_NOISE_DB) + _HEADROOM_DB
        heard = np.maximum(heard, noise)
        played = _smeared(_levels(self._played.take(end - _EARLIEST * _HOP, _FRAMES + _LATEST - _EARLIEST)))
        shifts = np.lib.stride_tricks.sliding_window_view(played, _FRAMES, axis=0)  # by delay, the longest first
        correlations = _correlations(heard[::2], shifts[:, :, ::2])  # half as much work, and as good
        best, correlation, is_certain = self._best_shift(heard, noise, shifts, correlations)
        echo = np.full_like(heard, _SILENCE_DB)
        if correlation >= MIN_CORRELATION:
            echo = _explained(heard, shifts[best].T, noise)
        excess = np.where(heard > np.maximum(echo, noise), heard - noise, 0.0).sum(axis=1)
        sound = (heard - noise).sum(axis=1)
        foreign = np.flatnonzero((excess > sound / 2) & (sound > 0))
        recent = sound[-_RECENT:].sum()
        unexplained = float(excess[-_RECENT:].sum() / recent) if recent else 0.0
        asked = min(max((end - int(since * SAMPLE_RATE)) // _HOP, 0), _FRAMES)
        return Hearing(
            correlation=correlation,
            delay_ms=(_LATEST - best) * _HOP_MS,
            unexplained=unexplained,
            foreign_ms=int((foreign >= _FRAMES - asked).sum()) * _HOP_MS,
            quiet_ms=(_FRAMES - 1 - int(foreign[-1]) if len(foreign) else _FRAMES) * _HOP_MS,
            is_echo=correlation >= MIN_CORRELATION and unexplained <= MAX_UNEXPLAINED,
            is_certain=is_certain,
        )

    def _best_shift(
        self, heard: _Floats, noise: _Floats, shifts: _Floats, correlations: _Floats
    ) -> tuple[int, float, bool]:
        """Return the shift that fits best, its correlation if that means something, else 0, and whether it does."""
        best = int(correlations.argmax())
        hops = _hops_above(heard, noise)
        if _hops_above(np.concatenate((shifts[0].T, shifts[-1].T)), _SILENCE_DB) < _MIN_ACTIVE:
            return best, 0.0, True  # nothing was played
        is_long = _hops_above(shifts[_LATEST - _USUAL_DELAY].T, _SILENCE_DB) >= _LONG
        if is_long and hops >= _LONG / 2 and correlations[best] >= MIN_CORRELATION:
            self._known_shift = best
        elif self._known_shift is not None:
            first = max(0, self._known_shift - _SHIFT_TOLERANCE)
            best = first + int(correlations[first : self._known_shift + _SHIFT_TOLERANCE + 1].argmax())
        else:
            self._was_without_echo |= is_long
            return best, 0.0, self._was_without_echo
        return best, float(correlations[best]) if hops >= _MIN_ACTIVE else 0.0, True


def _hops_above(levels: _Floats, threshold: _Floats | float) -> int:
    return int((levels > threshold).any(axis=1).sum())


def _levels(samples: _Floats) -> _Floats:
    """Return the level of every hop in every band, in dB of full scale."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FFT)[::_HOP]
    power = np.abs(np.fft.rfft(frames * _WINDOW, _FFT)) ** 2
    bands = np.add.reduceat(power, _BINS[:-1], axis=1)[:, : len(_BINS) - 1]
    levels: _Floats = 10 * np.log10(bands / _SCALE + 1e-12)
    audible: _Floats = np.maximum(levels, _SILENCE_DB)
    return audible


_BINS: Final = np.array([round(edge * _FFT / SAMPLE_RATE) for edge in _EDGES_HZ])
_SCALE: Final = float((_WINDOW**2).sum()) * _FFT / 2


def _smeared(levels: _Floats) -> _Floats:
    """Return the levels with a room's decay: no hop falls faster than that."""
    slope: _Floats = _DECAY_DB * np.arange(len(levels), dtype=np.float32)[:, None]
    smeared: _Floats = np.maximum(np.maximum.accumulate(levels + slope, axis=0) - slope, _SILENCE_DB)
    return smeared


def _correlations(heard: _Floats, shifted: _Floats) -> _Floats:
    """Return the correlation over time and bands for every shift; bands are compared around their own means."""
    ours = (heard - heard.mean(axis=0)).T
    theirs = shifted - shifted.mean(axis=2, keepdims=True)
    products = np.einsum("bh,lbh->l", ours, theirs)
    energy = np.sqrt((ours**2).sum() * np.einsum("lbh,lbh->l", theirs, theirs))
    quotients: _Floats = np.divide(products, energy, out=np.zeros_like(products), where=energy > 1.0)
    return quotients


def _explained(heard: _Floats, played: _Floats, noise: _Floats) -> _Floats:
    """Return how loud the echo may be in every hop and band: as played, less the coupling of the band, and a margin."""
    both = (played > _SILENCE_DB + _HEADROOM_DB) & (heard > noise)
    known = both.sum(axis=0)
    ranked = np.sort(np.where(both, heard - played, np.inf), axis=0)
    couplings = ranked[(known * _COUPLING_RANK).astype(int), np.arange(len(known))]
    trusted = known >= _MIN_KNOWN
    overall = np.median(couplings[trusted]) if trusted.any() else _UNKNOWN_COUPLING_DB
    explained: _Floats = played + np.where(trusted, couplings, overall).astype(np.float32) + _MARGIN_DB
    return explained


class _Line:
    """The last seconds of a sound on the loop's time line; what was not delivered is silence."""

    def __init__(self) -> None:
        self._samples = np.zeros(ms_to_samples(1000 * MEMORY_S), dtype=np.int16)
        self.end = 0  # on the time line, in samples

    def place(self, pcm: bytes, at: float) -> None:
        """Add a block whose first sample belongs to loop time ``at``; small deviations are jitter."""
        samples = np.frombuffer(pcm, "<i2")[-len(self._samples) :]
        start = math.floor(at * SAMPLE_RATE) + samples_in(pcm) - len(samples)
        if abs(start - self.end) > _JITTER:
            self._skip_to(start)
        else:
            start = self.end
        self._write(samples, start)
        self.end = start + len(samples)

    def _skip_to(self, start: int) -> None:
        if start < self.end or start - self.end >= len(self._samples):
            self._samples[:] = 0
        else:
            self._write(np.zeros(start - self.end, dtype=np.int16), self.end)

    def _write(self, samples: npt.NDArray[np.int16], start: int) -> None:
        size = len(self._samples)
        offset = start % size
        first = min(len(samples), size - offset)
        self._samples[offset : offset + first] = samples[:first]
        self._samples[: len(samples) - first] = samples[first:]

    def take(self, end: int, hops: int) -> _Floats:
        """Return the samples of so many hops up to ``end`` on the time line, -1 to 1; what is not known is silent."""
        wanted = (hops - 1) * _HOP + _FFT
        out = np.zeros(wanted, dtype=np.float32)
        first = end - wanted
        start, stop = max(first, self.end - len(self._samples)), min(end, self.end)
        if start < stop:
            out[start - first : stop - first] = self._samples[np.arange(start, stop) % len(self._samples)] / 32768
        return out
