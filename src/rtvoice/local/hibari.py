"""Text to speech by hibari's English voice, with the weights of the package ``hibari-tts`` (Apache-2.0)."""

import numpy as np


class HibariVoice:
    """Speaks English with a female American voice: 3 s of speech take about 30 ms, the model 110 MB of memory.

    The voice is always the same: what a session chooses as ``voice`` makes no difference.

    Args:
        seed: The same seed makes the same sound of the same text.

    Raises:
        ImportError: rtvoice[local] is not installed.
    """

    def __init__(self, *, seed: int = 0) -> None:
        from hibari import Hibari

        self._model = Hibari()  # the voice that is in the package; any other would be downloaded
        self._seed = seed

    def synthesize(self, text: str, speed: float) -> bytes:
        """Return the sound, PCM16 24 kHz mono; nothing for a text without words.

        Args:
            text: What to say.
            speed: Times the usual speed; the model knows 0.5 to 2.0, what is outside becomes the nearest.
        """
        samples = self._model(text, speed=min(2.0, max(0.5, speed)), seed=self._seed)
        pcm: bytes = (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
        return pcm
