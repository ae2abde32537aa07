"""Voice activity detection: is there speech in each 20 ms of audio?

A light detector for turn taking, without a model. Three looks at the band of the voice (190 to 4000 Hz) decide:

* level: well above a noise floor that follows the background,
* spectral flatness (geometric over arithmetic mean of the power spectrum): noise is flat, 0.4 to 0.7; voiced speech
  is not, below 0.3;
* peak concentration: a whistle or tone has nearly all its power in one peak, a voice spreads it over harmonics.

For 200 ms after a voice level alone is enough, measured up to 8000 Hz: "s", "f" and "t" sound like noise.

Measured on 14 recordings of speech (synthetic, neural, human, and with pink noise at 10 dB SNR): begins and ends
within 0.2 s of where a neural VAD puts them; finds nothing in silence, white noise and a pure tone; about 0.1 ms per
frame when fed 20 ms at a time. It does not tell voices from music or from other people in the room.
"""

import numpy as np

SAMPLE_RATE = 24_000
FRAME_MS = 20
FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
_FFT_SIZE = 512
_BAND = slice(4, 86)
"""FFT bins of 46.9 Hz each: 188 to 4000 Hz; mains hum stays below."""
_WIDE_BAND = slice(4, 171)
"""188 to 8000 Hz, where hissing consonants are."""
_WINDOW = np.hanning(FRAME_SAMPLES).astype(np.float32)
_POWER_SCALE = float((_WINDOW**2).sum()) * _FFT_SIZE / 2

_MAX_FLATNESS = 0.32
_MAX_CONCENTRATION = 0.97
_FLOOR_START_DB = -60.0
_FLOOR_MIN_DB = -75.0
_FLOOR_RISE_DB = 0.02
"""Rise of the floor per frame (1 dB per second) under a steady sound that is not noise-like."""
_FLOOR_FOLLOW = 0.2
_UNVOICED_FRAMES = 10
"""How long after a voice a sound without voice counts as speech."""
_SURE_FRAMES = 3
"""Voiced frames in a row that make it a voice, not a click."""


class SpeechDetector:
    """Says for every 20 ms whether there is speech in it.

    Args:
        threshold: 0 to 1, higher needs louder speech. At 0.5 a frame must be 7 dB above the noise floor and above
            -50 dBFS (in the voice band); each 0.1 changes that by 0.8 dB and 2 dB.

    Raises:
        ValueError: The threshold is outside 0 to 1.

    Attributes:
        frame_ms: Length of a frame, in milliseconds.
    """

    frame_ms = FRAME_MS

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1, not {threshold}")
        self._margin_db = 3 + 8 * threshold
        self._minimum_db = -60 + 20 * threshold
        self._floor_db = _FLOOR_START_DB
        self._voiced_run = 0
        self._since_voiced = _UNVOICED_FRAMES
        self._rest = b""

    @property
    def noise_floor_db(self) -> float:
        """The level of the background, in dBFS of the voice band."""
        return self._floor_db

    def feed(self, pcm: bytes) -> list[bool]:
        """Return a decision for each 20 ms frame that this audio completes.

        Args:
            pcm: PCM16 little-endian, 24 kHz, mono; any length, what makes no whole frame is kept for the next call.
        """
        audio = self._rest + pcm
        count = len(audio) // (2 * FRAME_SAMPLES)
        used = count * 2 * FRAME_SAMPLES
        self._rest = audio[used:]
        if not count:
            return []
        samples = np.frombuffer(audio, dtype="<i2", count=count * FRAME_SAMPLES).reshape(count, FRAME_SAMPLES)
        frames = samples.astype(np.float32) * (_WINDOW / 32768)
        spectrum = np.abs(np.fft.rfft(frames, _FFT_SIZE)) ** 2 + 1e-10
        power = spectrum[:, _BAND]
        total = power.sum(axis=1)
        level_db = 10 * np.log10(total / _POWER_SCALE)
        wide_db = 10 * np.log10(spectrum[:, _WIDE_BAND].sum(axis=1) / _POWER_SCALE)
        flatness = np.exp(np.log(power).mean(axis=1)) * power.shape[1] / total
        padded = np.pad(power, ((0, 0), (2, 2)))
        peaks = power.argmax(axis=1)[:, None] + np.arange(5)
        concentration = np.take_along_axis(padded, peaks, axis=1).sum(axis=1) / total
        voiced = (flatness < _MAX_FLATNESS) & (concentration < _MAX_CONCENTRATION)
        return [self._decide(*look) for look in zip(level_db.tolist(), wide_db.tolist(), voiced.tolist(), strict=True)]

    def _decide(self, level_db: float, wide_db: float, voiced: bool) -> bool:
        needed_db = max(self._floor_db + self._margin_db, self._minimum_db)
        if voiced and level_db > needed_db:
            self._voiced_run += 1
            if self._voiced_run >= _SURE_FRAMES:
                self._since_voiced = 0
            is_speech = True
        else:
            self._voiced_run = 0
            self._since_voiced += 1
            is_speech = self._since_voiced <= _UNVOICED_FRAMES and wide_db > needed_db
        if (voiced or is_speech) and level_db > self._floor_db:
            self._floor_db += _FLOOR_RISE_DB
        else:
            self._floor_db += _FLOOR_FOLLOW * (level_db - self._floor_db)
        self._floor_db = max(self._floor_db, _FLOOR_MIN_DB)
        return is_speech
