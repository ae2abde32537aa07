"""The session's settings: defaults, and what ``session.update`` may change (protocol page, section 3)."""

import copy
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from rtvoice.testing.validation import (
    Check,
    RequestRefused,
    any_object,
    boolean,
    integer,
    invalid_value,
    list_of,
    map_of,
    nullable,
    number,
    obj,
    one_of,
    require,
    string,
    tagged,
)

SessionKind: TypeAlias = Literal["realtime", "transcription"]
Config: TypeAlias = dict[str, Any]

DEFAULT_INSTRUCTIONS = "You are a helpful, friendly assistant. Answer briefly. (Default of the Realtime emulator.)"
VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
TRANSCRIPTION_MODELS = (
    "gpt-live-transcribe",
    "gpt-transcribe",
    "gpt-realtime-whisper",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "whisper-1",
)
STREAMING_TRANSCRIBERS = ("gpt-live-transcribe", "gpt-realtime-whisper")
"""Models that transcribe while audio comes in; they need turn detection off (section 3.5)."""
MODELS_WITHOUT_REASONING = ("gpt-realtime", "gpt-realtime-mini", "gpt-realtime-1.5")
"""Models that refuse ``reasoning`` and ``parallel_tool_calls`` (their dated snapshots do, too)."""

_FORMAT = tagged(
    "type",
    {
        "audio/pcm": obj({"type": string(), "rate": integer(24000, 24000)}),
        "audio/pcmu": obj({"type": string()}),
        "audio/pcma": obj({"type": string()}),
    },
)
_NOISE_REDUCTION = nullable(
    obj({"type": one_of("near_field", "far_field"), "strength": number(0, 1)}, required=["type"])
)
_TRANSCRIPTION = nullable(
    obj(
        {
            "model": one_of(*TRANSCRIPTION_MODELS),
            "language": string(),
            "languages": list_of(string()),
            "keywords": list_of(string()),
            "prompt": string(),
            "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
        }
    )
)
_VAD_RESPONSES: dict[str, Check] = {"create_response": boolean, "interrupt_response": boolean}
_TURN_DETECTION = nullable(
    tagged(
        "type",
        {
            "server_vad": obj(
                {
                    "type": string(),
                    "threshold": number(0, 1),
                    "prefix_padding_ms": integer(0),
                    "silence_duration_ms": integer(0),
                    "idle_timeout_ms": nullable(integer(5000, 30000)),
                    **_VAD_RESPONSES,
                }
            ),
            "semantic_vad": obj(
                {"type": string(), "eagerness": one_of("low", "medium", "high", "auto"), **_VAD_RESPONSES}
            ),
        },
    )
)


def _voice(value: Any, path: str) -> None:
    if isinstance(value, dict):
        obj({"id": string()}, required=["id"])(value, path)
    elif value not in VOICES:
        raise invalid_value(value, VOICES, path)


def _modalities(value: Any, path: str) -> None:
    list_of(one_of("text", "audio"))(value, path)
    if len(value) != 1:
        raise RequestRefused(
            "invalid_value",
            f"Invalid modalities: {value}. Supported combinations are: ['text'] and ['audio'].",
            path,
        )


def _max_output_tokens(value: Any, path: str) -> None:
    if value != "inf":
        integer(1, 4096)(value, path)


def _truncation(value: Any, path: str) -> None:
    if isinstance(value, str):
        one_of("auto", "disabled")(value, path)
        return
    limits = obj({"post_instructions": integer(0)})
    obj(
        {"type": one_of("retention_ratio"), "retention_ratio": number(0, 1), "token_limits": limits},
        required=["type", "retention_ratio"],
    )(value, path)


def _tracing(value: Any, path: str) -> None:
    if value != "auto":
        obj({"workflow_name": string(), "group_id": string(), "metadata": any_object})(value, path)


def _mcp_tool(value: Any, path: str) -> None:
    fields: dict[str, Check] = dict.fromkeys(
        ("type", "server_label", "server_url", "connector_id", "tunnel_id", "authorization", "server_description"),
        nullable(string()),
    )
    anything: Check = lambda _value, _path: None  # noqa: E731 - these have several shapes that nothing here depends on
    fields |= dict.fromkeys(("headers", "allowed_tools", "require_approval", "allowed_callers"), anything)
    obj({**fields, "server_label": string(), "defer_loading": boolean}, required=["server_label"])(value, path)
    if not any(value.get(key) for key in ("server_url", "connector_id", "tunnel_id")):
        require({}, "server_url", path)


_TOOL = tagged(
    "type",
    {
        "function": obj(
            {
                "type": string(),
                "name": string(longest=64, pattern=r"[a-zA-Z0-9_-]+"),
                "description": string(),
                "parameters": any_object,
            },
            required=["name"],
        ),
        "mcp": _mcp_tool,
    },
)


def _tool_choice(value: Any, path: str) -> None:
    if isinstance(value, str):
        one_of("auto", "none", "required")(value, path)
        return
    forced = {
        "function": obj({"type": string(), "name": string()}, required=["name"]),
        "mcp": obj({"type": string(), "server_label": string(), "name": string()}, required=["server_label"]),
    }
    tagged("type", forced)(value, path)


METADATA = nullable(map_of(string(longest=512), longest_key=64, most=16))
RESPONSE_SETTINGS: dict[str, Check] = {
    "instructions": string(),
    "output_modalities": _modalities,
    "tools": list_of(_TOOL),
    "tool_choice": _tool_choice,
    "parallel_tool_calls": boolean,
    "reasoning": nullable(obj({"effort": nullable(one_of("minimal", "low", "medium", "high", "xhigh"))})),
    "max_output_tokens": _max_output_tokens,
    "prompt": nullable(
        obj({"id": string(), "version": nullable(string()), "variables": nullable(any_object)}, required=["id"])
    ),
}
"""Settings that a session has and one response may override."""
RESPONSE_AUDIO = obj({"output": obj({"format": _FORMAT, "voice": _voice})})

_INPUT: dict[str, Check] = {
    "format": _FORMAT,
    "noise_reduction": _NOISE_REDUCTION,
    "transcription": _TRANSCRIPTION,
    "turn_detection": _TURN_DETECTION,
}
_INCLUDE = nullable(list_of(one_of("item.input_audio_transcription.logprobs")))
_SCHEMAS: dict[str, Check] = {
    "realtime": obj(
        {
            **RESPONSE_SETTINGS,
            "type": string(),
            "model": string(),
            "truncation": _truncation,
            "tracing": nullable(_tracing),
            "include": _INCLUDE,
            "audio": obj(
                {
                    "input": obj(_INPUT),
                    "output": obj({"format": _FORMAT, "voice": _voice, "speed": number(0.25, 1.5)}),
                }
            ),
        }
    ),
    "transcription": obj({"type": string(), "include": _INCLUDE, "audio": obj({"input": obj(_INPUT)})}),
}


def default_config(
    kind: SessionKind, *, session_id: str, model: str, expires_at: int, silence_duration_ms: int
) -> Config:
    """Return the settings that ``session.created`` shows."""
    server_vad: Config = {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": silence_duration_ms,
    }
    audio_input: Config = {
        "format": {"type": "audio/pcm", "rate": 24000},
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": server_vad,
    }
    if kind == "transcription":
        return {
            "type": "transcription",
            "object": "realtime.transcription_session",
            "id": session_id,
            "expires_at": expires_at,
            "audio": {"input": audio_input},
            "include": None,
        }
    server_vad |= {"idle_timeout_ms": None, "create_response": True, "interrupt_response": True}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": DEFAULT_INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": audio_input,
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        },
        "include": None,
    }


def updated_config(
    current: Config, update: Any, *, silence_duration_ms: int, voice_locked: bool, responding: bool
) -> Config:
    """Return the settings after a ``session.update``; ``current`` stays as it is.

    Args:
        current: The settings in force.
        update: The ``session`` field of the client's event.
        silence_duration_ms: Default of the server VAD, for when the update turns it on.
        voice_locked: Whether the conversation already holds assistant audio.
        responding: Whether a response is running.

    Raises:
        RequestRefused: Something in it is not allowed; then nothing of it applies.
    """
    any_object(update, "session")
    require(update, "type", "session")
    if update["type"] not in _SCHEMAS:
        raise invalid_value(update["type"], _SCHEMAS, "session.type")
    if update["type"] != current["type"]:
        raise RequestRefused(
            "invalid_value",
            f"Passing a {update['type']} session update to a {current['type']} session is not allowed.",
            "session.type",
        )
    _SCHEMAS[current["type"]](update, "session")
    _check_fixed(current, update, voice_locked=voice_locked, responding=responding)
    check_reasoning(update, str(current.get("model")))
    merged = copy.deepcopy(current)
    for key, value in update.items():
        if key != "audio":
            merged[key] = copy.deepcopy(value)
    for side, settings in update.get("audio", {}).items():
        for key, value in settings.items():
            merged["audio"][side][key] = _merged_audio_setting(
                key, merged["audio"][side].get(key), value, current["type"], silence_duration_ms
            )
    _check_transcription(merged["audio"]["input"])
    return merged


def _merged_audio_setting(key: str, old: Any, new: Any, kind: SessionKind, silence_duration_ms: int) -> Any:
    if not isinstance(new, dict) or key in ("format", "voice"):
        return copy.deepcopy(new)
    if key == "turn_detection" and (old is None or old["type"] != new["type"]):
        old = _turn_detection_defaults(new["type"], kind, silence_duration_ms)
    if key == "transcription":
        # "delay" works but is not echoed (protocol page, section 3.5).
        new = {name: value for name, value in new.items() if name != "delay"}
    return {**(old or {}), **copy.deepcopy(new)}


def _turn_detection_defaults(detection: str, kind: SessionKind, silence_duration_ms: int) -> Config:
    if detection == "semantic_vad":
        return {"type": "semantic_vad", "eagerness": "auto", "create_response": True, "interrupt_response": True}
    template = default_config(kind, session_id="", model="", expires_at=0, silence_duration_ms=silence_duration_ms)
    defaults: Config = template["audio"]["input"]["turn_detection"]
    return defaults


def _check_fixed(current: Config, update: Config, *, voice_locked: bool, responding: bool) -> None:
    if update.get("model", current.get("model")) != current.get("model"):
        raise RequestRefused("invalid_value", "Cannot update a session's model.", "session.model")
    if current.get("tracing") is not None and update.get("tracing", current["tracing"]) != current["tracing"]:
        raise RequestRefused("invalid_value", "Cannot update tracing once it is enabled.", "session.tracing")
    output = update.get("audio", {}).get("output", {})
    if voice_locked and "voice" in output:
        check_voice_change(current, output["voice"], "session.audio.output.voice")
    if responding and "speed" in output and output["speed"] != current["audio"]["output"]["speed"]:
        raise RequestRefused(
            "invalid_value", "Cannot update speed while a response is in progress.", "session.audio.output.speed"
        )


def check_voice_change(current: Config, voice: Any, path: str) -> None:
    """Refuse another voice than the current one: the conversation already holds assistant audio."""
    if voice != current["audio"]["output"]["voice"]:
        raise RequestRefused(
            "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present.", path
        )


def check_reasoning(settings: Mapping[str, Any], model: str) -> None:
    """Refuse reasoning settings for models that do not reason."""
    snapshot_of = model.split("-202", maxsplit=1)[0]
    for key in ("reasoning", "parallel_tool_calls"):
        if settings.get(key) is not None and snapshot_of in MODELS_WITHOUT_REASONING:
            # Measured on Azure: neither event_id nor param (protocol page, section 2.3).
            raise RequestRefused(
                "invalid_value", f"The parameter '{key}' is not supported by model '{model}'.", names_event=False
            )


def _check_transcription(audio_input: Config) -> None:
    transcription = audio_input["transcription"]
    if transcription is None:
        return
    path = "session.audio.input.transcription"
    if "language" in transcription and "languages" in transcription:
        raise RequestRefused("invalid_value", "Only one of 'language' and 'languages' may be given.", path)
    if transcription.get("model") in STREAMING_TRANSCRIBERS and audio_input["turn_detection"] is not None:
        raise RequestRefused(
            "invalid_value",
            "Turn detection is not supported for this transcription model.",
            "session.audio.input.turn_detection",
        )
