"""Speech to text by Moonshine's "tiny" English model, with the weights of ``moonshine-voice`` 0.1.0 (MIT)."""

import numpy as np

from rtvoice.audio.pcm import SAMPLE_RATE


class MoonshineTranscriber:
    """Writes English down. A sentence takes about 0.1 s, the model 150 MB of memory.

    Raises:
        ImportError: ``moonshine-voice`` is not installed, or there is none for this platform.
        RuntimeError: The model cannot be loaded.
    """

    def __init__(self) -> None:
        from moonshine_voice import ModelArch, MoonshineError, get_model_path
        from moonshine_voice.transcriber import Transcriber

        try:
            # Its own voice activity detection would add words that nobody said, and other ones on every run.
            options = {"vad_threshold": "0.0"}
            self._model = Transcriber(get_model_path("tiny-en"), ModelArch.TINY, options=options)
        except MoonshineError as error:
            raise RuntimeError(f"moonshine-voice cannot load its model: {error}") from error

    def transcribe(self, pcm: bytes) -> str:
        """Return the words; of silence or noise it makes some up.

        Args:
            pcm: PCM16, 24 kHz, mono, with speech in it.
        """
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        transcript = self._model.transcribe_without_streaming(samples.tolist(), SAMPLE_RATE)
        return " ".join(line.text.strip() for line in transcript.lines).strip()
