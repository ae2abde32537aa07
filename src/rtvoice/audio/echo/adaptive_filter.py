"""The linear part of echo cancellation: a filter that learns the room, and takes its echo away."""

from typing import Final

import numpy as np
import numpy.typing as npt

Block = npt.NDArray[np.float32]
Spectra = npt.NDArray[np.complex64]

BLOCK: Final = 240
"""Samples per block: 10 ms at 24 kHz."""
_FFT: Final = 2 * BLOCK
_BINS: Final = BLOCK + 1

_KEEP: Final = 0.9998
"""Part of the room that is the same a block later: how quickly it may change."""
_UNCERTAINTY: Final = 0.05
"""Variance of a weight before anything is known."""
_NOISE_MEMORY: Final = 0.8
_NOISE_FLOOR: Final = 1e-5
_MIN_POWER: Final = 1e-8 * BLOCK
"""Energy of a block of the reference (-80 dBFS) under which there is nothing to learn from."""


class AdaptiveFilter:
    """A Kalman filter in the frequency domain (Enzner and Vary 2006), partitioned, so that long rooms cost no delay.

    Each partition and frequency has a weight and its uncertainty. The uncertainty makes the step large where the filter
    knows nothing, and small while somebody speaks over the assistant, without a detector for that.

    Args:
        tail_ms: Length of the room's response that can be learned, delay included, in milliseconds.

    Raises:
        ValueError: It is under 10.
    """

    def __init__(self, tail_ms: int = 320) -> None:
        if tail_ms < 10:
            raise ValueError(f"tail_ms must be at least 10, not {tail_ms}")
        self._partitions = -(-tail_ms // 10)
        self.reset()

    def reset(self) -> None:
        """Forget the room."""
        shape = (self._partitions, _BINS)
        self._far: Spectra = np.zeros(shape, np.complex64)  # the newest block first
        self._far_power: Block = np.zeros(shape, np.float32)
        self._weights: Spectra = np.zeros(shape, np.complex64)
        self._variance: Block = np.full(shape, _UNCERTAINTY, np.float32)
        self._noise: Block = np.full(_BINS, 1e-2, np.float32)
        self._previous: Block = np.zeros(BLOCK, np.float32)
        self._silent_blocks = self._partitions

    def process(self, microphone: Block, reference: Block) -> tuple[Block, Block]:
        """Return what is left of the microphone, and the echo that was taken away; 240 samples each, without delay.

        Args:
            microphone: 240 samples, 1.0 is full scale.
            reference: What was played meanwhile.
        """
        self._silent_blocks = 0 if reference.any() else self._silent_blocks + 1
        if self._silent_blocks > self._partitions:  # nothing is left to be heard: the common case costs nothing
            return microphone, np.zeros(BLOCK, np.float32)
        spectrum = np.fft.rfft(np.concatenate((self._previous, reference)))
        self._previous = reference
        self._far[1:] = self._far[:-1].copy()
        self._far[0] = spectrum
        self._far_power[1:] = self._far_power[:-1].copy()
        self._far_power[0] = np.abs(spectrum) ** 2
        echo = np.fft.irfft(np.einsum("pb,pb->b", self._weights, self._far))[BLOCK:].astype(np.float32)
        error = microphone - echo
        if self._far_power[:, 1:].sum() > _MIN_POWER * _FFT:
            self._learn(error)
        return error, echo

    def _learn(self, error: Block) -> None:
        error_spectrum = np.fft.rfft(np.concatenate((np.zeros(BLOCK, np.float32), error))).astype(np.complex64)
        power: Block = np.abs(error_spectrum) ** 2
        self._noise = (_NOISE_MEMORY * self._noise + (1 - _NOISE_MEMORY) * power + _NOISE_FLOOR).astype(np.float32)
        expected = 0.5 * np.einsum("pb,pb->b", self._variance, self._far_power) + self._noise
        step = self._variance / expected
        gradient = np.fft.irfft(step * self._far.conj() * error_spectrum, axis=1)
        gradient[:, BLOCK:] = 0  # only then is the circular convolution a linear one
        self._weights = ((self._weights + np.fft.rfft(gradient, axis=1)) * _KEEP).astype(np.complex64)
        known = (1 - 0.5 * step * self._far_power) * _KEEP**2
        self._variance = (known * self._variance + (1 - _KEEP**2) * np.abs(self._weights) ** 2).astype(np.float32)
