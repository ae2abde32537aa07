"""Checks of what the user gave to `RealtimeAgent`: wrong values fail here, never later."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

from rtvoice.audio import MicrophoneInput, SpeakerOutput
from rtvoice.audio.pcm import SAMPLE_RATE
from rtvoice.errors import ConfigurationError, MissingCredentialsError
from rtvoice.listener import AgentListener
from rtvoice.settings import (
    AssistantVoice,
    InterruptionPolicy,
    NoiseReduction,
    OutputModality,
    RealtimeModel,
    ReasoningEffort,
    SemanticVAD,
    ServerVAD,
    SessionLog,
    TranscriptionModel,
    TurnDetection,
)
from rtvoice.tools import Tools, UnresolvedInjection
from rtvoice.usage import Prices, price_known

if TYPE_CHECKING:
    from rtvoice.supervisor import Supervisor, TextAgent

logger = logging.getLogger(__name__)

V = TypeVar("V")

MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 1.5

_SHUTDOWNS: Final[Mapping[str, tuple[str, str]]] = {
    # name: (date, successor), as announced by OpenAI up to November 2026
    RealtimeModel.GPT_REALTIME: ("2027-01-20", RealtimeModel.GPT_REALTIME_2_1),
    RealtimeModel.GPT_REALTIME_MINI: ("2027-01-20", RealtimeModel.GPT_REALTIME_2_1_MINI),
    TranscriptionModel.WHISPER_1: ("2027-02-26", TranscriptionModel.GPT_TRANSCRIBE),
    TranscriptionModel.GPT_4O_TRANSCRIBE: ("2027-02-26", TranscriptionModel.GPT_TRANSCRIBE),
    TranscriptionModel.GPT_4O_MINI_TRANSCRIBE: ("2027-02-26", TranscriptionModel.GPT_TRANSCRIBE),
}
_SPEECH_ONLY_VOICES: Final = frozenset({AssistantVoice.FABLE, AssistantVoice.ONYX, AssistantVoice.NOVA})


def instance(name: str, value: object, kind: type[V] | tuple[type[V], ...]) -> V:
    """Return the value if it has the right type.

    Raises:
        TypeError: It has not.
    """
    if isinstance(value, bool) or not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(k.__name__ for k in kinds)
        raise TypeError(f"{name} must be a {expected}, not {type(value).__name__}")
    return value


def no_class(name: str, value: object) -> None:
    """Refuse a class where one of its instances is meant.

    Raises:
        TypeError: It is a class.
    """
    if isinstance(value, type):
        raise TypeError(f"{name} must be an object, not the class {value.__name__}: write {value.__name__}()")


def device(name: str, value: V, members: tuple[str, ...]) -> V:
    """Return the device if it has what every device has; a base class is not asked for.

    Raises:
        TypeError: It lacks something.
        ConfigurationError: It is one of ours, at another rate than the session's.
    """
    no_class(name, value)
    missing = [member for member in members if not hasattr(type(value), member) and not hasattr(value, member)]
    if missing:
        raise TypeError(f"{name} is not an audio device: {type(value).__name__} lacks {', '.join(missing)}")
    if isinstance(value, MicrophoneInput | SpeakerOutput) and not hasattr(value, "audio_format"):
        _check_rate(name, value.sample_rate)
    return value


def _check_rate(name: str, sample_rate: int) -> None:
    if sample_rate != SAMPLE_RATE:
        raise ConfigurationError(
            f"{name}: with an agent, leave sample_rate={sample_rate} out: it speaks {SAMPLE_RATE} Hz, and what the "
            "hardware cannot do is resampled"
        )


def on_device_lost(value: str) -> Literal["end", "continue"]:
    """Return what is to follow a lost audio device.

    Raises:
        ConfigurationError: It is neither ``"end"`` nor ``"continue"``.
    """
    if value == "end":
        return "end"
    if value == "continue":
        return "continue"
    raise ConfigurationError(f'on_device_lost must be "end" or "continue", not {value!r}')


def model(value: str) -> str:
    """Return the model's name; unknown names pass, dying ones are warned about."""
    name = str(instance("model", value, str))
    if not name:
        raise ConfigurationError("model must not be empty")
    _warn_of_shutdown("model", name)
    return name


def transcription_model(value: str | None) -> str | None:
    """Return the transcription model's name, ``None`` for no transcription."""
    if value is None:
        return None
    name = str(instance("transcription_model", value, str))
    if not name:
        raise ConfigurationError("transcription_model must not be empty; None switches transcription off")
    return name


def _warn_of_shutdown(parameter: str, name: str) -> None:
    if name in _SHUTDOWNS:
        date, successor = _SHUTDOWNS[name]
        logger.warning("%s=%r is shut down by OpenAI on %s: use %r", parameter, name, date, str(successor))


def warn_of_transcription_shutdown(name: str | None) -> None:
    """Warn of a transcription model that the user chose and that is about to go."""
    if name is not None:
        _warn_of_shutdown("transcription_model", name)


def voice(value: str) -> str:
    """Return the voice's name; unknown names pass."""
    name = str(instance("voice", value, str))
    if not name:
        raise ConfigurationError("voice must not be empty")
    if name in _SPEECH_ONLY_VOICES:
        logger.warning("The voice %r is not in the Realtime API's list: the server may refuse the session", name)
    return name


def speed(value: float) -> float:
    """Return the speech speed, clipped to what the API takes."""
    given = float(instance("speech_speed", value, (int, float)))
    clipped = min(max(given, MIN_SPEED), MAX_SPEED)
    if clipped != given:  # also when it is not a number
        clipped = clipped if clipped == clipped else 1.0
        logger.warning("speech_speed=%s is outside %s to %s: using %s", given, MIN_SPEED, MAX_SPEED, clipped)
    return clipped


def modalities(value: list[OutputModality] | None) -> tuple[OutputModality, ...]:
    """Return the modalities in order and without repetition; none means audio."""
    if isinstance(value, str):
        raise TypeError(f'output_modalities must be a list such as ["audio"], not the string {value!r}')
    known = get_args(OutputModality)
    for modality in value or ():
        if modality not in known:
            raise ConfigurationError(f"output_modalities knows {' and '.join(map(repr, known))}, not {modality!r}")
    return tuple(dict.fromkeys(value or ())) or ("audio",)


def noise_reduction(value: NoiseReduction | str | None) -> NoiseReduction | None:
    """Return the noise reduction, ``None`` for none."""
    if value is None:
        return None
    if value not in list(NoiseReduction):
        values = ", ".join(repr(str(member)) for member in NoiseReduction)
        raise ConfigurationError(f"noise_reduction must be one of {values}, or None, not {value!r}")
    return NoiseReduction(value)


def one_spelling(name: str, value: V, other_name: str, other: object) -> V:
    """Return a value that may be given under two names, but not under both."""
    if other is not None:
        raise TypeError(f"{name}= and {other_name}= are two names of one setting: give one of them")
    return value


def reasoning_effort(value: str | None) -> ReasoningEffort | None:
    """Return the reasoning effort, ``None`` for the service's own."""
    if value is None:
        return None
    if value not in list(ReasoningEffort):
        values = ", ".join(repr(str(member)) for member in ReasoningEffort)
        raise ConfigurationError(f"reasoning_effort must be one of {values}, or None, not {value!r}")
    return ReasoningEffort(value)


def turn_detection(value: TurnDetection | None) -> TurnDetection | None:
    """Return the turn detection, ``None`` for none."""
    if value is None:
        logger.info("Turn detection is off: commit_user_turn() ends each of the user's turns")
        return None
    if not isinstance(value, (SemanticVAD, ServerVAD)):
        raise TypeError(f"turn_detection must be a SemanticVAD or a ServerVAD, not {type(value).__name__}")
    return value


def inactivity(seconds: float | None, *, enabled: bool) -> float | None:
    """Return the inactivity timeout in seconds, ``None`` for none."""
    if seconds is None:
        if enabled:
            logger.warning("inactivity_timeout_enabled has no effect without inactivity_timeout_seconds")
        return None
    if not enabled:
        raise ConfigurationError(
            "inactivity_timeout_seconds is given but the timeout is off: set inactivity_timeout_enabled=True"
        )
    return limit("inactivity_timeout_seconds", seconds)


def interruption(
    value: InterruptionPolicy | None, *, detects_turns: bool, writes_down: bool
) -> InterruptionPolicy | None:
    """Return the policy, ``None`` for none.

    Raises:
        ConfigurationError: It needs what is switched off.
    """
    if value is None:
        return None
    policy = instance("interruption", value, InterruptionPolicy)
    if not detects_turns:
        raise ConfigurationError("interruption= needs turn detection: with turn_detection=None nothing is interrupted")
    if policy.ignore_backchannels and not writes_down:
        raise ConfigurationError(
            "InterruptionPolicy(ignore_backchannels=...) needs a transcription_model, to know what the user said: "
            "give one, or ignore_backchannels=False"
        )
    return policy


def session_log(value: SessionLog | str | Path | None) -> SessionLog | None:
    """Return the settings of the session log, ``None`` for none."""
    if value is None or isinstance(value, SessionLog):
        return value
    instance("session_log", value, (SessionLog, str, Path))
    return SessionLog(value)


def limit(name: str, value: float | None) -> float | None:
    """Return a limit, ``None`` for none."""
    if value is None:
        return None
    number = float(instance(name, value, (int, float)))
    if not number > 0:
        raise ConfigurationError(f"{name} must be greater than 0, not {value!r}; None switches the limit off")
    return number


def budget(usd: float | None, model: str, prices: Prices | None) -> float | None:
    """Return the budget in US dollars; a model without a price cannot be kept within one."""
    value = limit("max_cost_usd", usd)
    if value is not None and not price_known(model, prices):
        raise ConfigurationError(f"max_cost_usd needs the price of {model!r}: give it with prices=")
    return value


def supervisor(supervisor: "Supervisor[Any] | None", text_agent: "TextAgent[Any] | None") -> "Supervisor[Any] | None":
    """Return whichever of the two is given, ``None`` for neither.

    Raises:
        TypeError: Both are, or one is something else.
    """
    if supervisor is None and text_agent is None:
        return None
    from rtvoice.supervisor import Supervisor, TextAgent  # an agent without a supervisor needs no language model

    if text_agent is None:
        return instance("supervisor", supervisor, Supervisor)
    if supervisor is not None:
        raise TypeError("Give either supervisor= or text_agent=, not both: an agent has one")
    return instance("text_agent", text_agent, TextAgent)


def overrides(listener: object, callback: str) -> bool:
    """Whether a listener does something in a callback."""
    method = getattr(type(listener), callback, None) or getattr(listener, callback, None)
    return method is not None and method is not getattr(AgentListener, callback)


def warn_of_unresolved_injections(missing: Iterable[UnresolvedInjection], whose: str = "") -> None:
    """Warn of tools that cannot be called because they want something that nobody has."""
    for tool, parameter, wanted in missing:
        logger.warning(
            "%s %r wants %s injected as %r, but there is no such object: pass it as context=",
            f"{whose} tool".strip().capitalize(),
            tool,
            wanted,
            parameter,
        )


def warn_of_supervisor(supervisor: "Supervisor[Any]", listener: object) -> None:
    """Warn of what a supervisor that is bound to the agent will not be able to do."""
    try:
        supervisor.check_credentials()
    except MissingCredentialsError as error:
        logger.warning("The supervisor will fail: %s", error)
    warn_of_unresolved_injections(supervisor.unresolved_injections(), "the supervisor's")
    warn_of_unapproved_tools(supervisor.tools, listener)


def warn_of_unapproved_tools(tools: Tools, listener: object) -> None:
    """Warn of tools that need a person's consent when nobody is there to give it."""
    names = [tool.name for tool in tools.tools.values() if tool.needs_approval]
    if names and not overrides(listener, "on_tool_approval_requested"):
        logger.warning(
            "Calls of %s will be refused: they need approval, and the listener has no on_tool_approval_requested",
            ", ".join(names),
        )


def warn_of_idle_hooks(listener: object, *, inactivity_on: bool, has_supervisor: bool, has_text: bool) -> None:
    """Warn of callbacks that can never be called with these settings, and of one that is missed."""
    countdown = "on_user_inactivity_countdown"
    if overrides(listener, countdown) and not inactivity_on:
        logger.warning("%s will never be called: the inactivity timeout is off", countdown)
    if inactivity_on and not overrides(listener, countdown):
        logger.warning("The inactivity timeout is on, but the listener has no %s to announce it", countdown)
    for callback in ("on_supervisor_started", "on_supervisor_finished"):
        if overrides(listener, callback) and not has_supervisor:
            logger.warning("%s will never be called: the agent has no supervisor", callback)
    if overrides(listener, "on_assistant_transcript_delta") and not has_text:
        logger.warning('on_assistant_transcript_delta will never be called: "text" is not in output_modalities')
