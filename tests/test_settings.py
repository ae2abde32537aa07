from dataclasses import FrozenInstanceError

import pytest
from pydantic import ValidationError

from rtvoice.settings import (
    AssistantVoice,
    ConversationSeed,
    InterruptionPolicy,
    NoiseReduction,
    RealtimeModel,
    ReasoningEffort,
    ReconnectPolicy,
    RotationPolicy,
    SeedMessage,
    SemanticEagerness,
    SemanticVAD,
    ServerVAD,
    TranscriptionModel,
    WatchdogPolicy,
)

_VOICES = "ALLOY ASH BALLAD CORAL ECHO FABLE ONYX NOVA SAGE SHIMMER VERSE CEDAR MARIN".split()  # noqa: SIM905
VALUES = {
    RealtimeModel: {
        "GPT_REALTIME": "gpt-realtime",
        "GPT_REALTIME_MINI": "gpt-realtime-mini",
        "GPT_REALTIME_1_5": "gpt-realtime-1.5",
        "GPT_REALTIME_2": "gpt-realtime-2",
        "GPT_REALTIME_2_1": "gpt-realtime-2.1",
        "GPT_REALTIME_2_1_MINI": "gpt-realtime-2.1-mini",
    },
    TranscriptionModel: {
        "WHISPER_1": "whisper-1",
        "GPT_TRANSCRIBE": "gpt-transcribe",
        "GPT_4O_TRANSCRIBE": "gpt-4o-transcribe",
        "GPT_4O_MINI_TRANSCRIBE": "gpt-4o-mini-transcribe",
    },
    NoiseReduction: {"NEAR_FIELD": "near_field", "FAR_FIELD": "far_field"},
    SemanticEagerness: {"LOW": "low", "MEDIUM": "medium", "HIGH": "high", "AUTO": "auto"},
    ReasoningEffort: {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "xhigh"},
    AssistantVoice: {name: name.lower() for name in _VOICES},
}


@pytest.mark.parametrize(("enum", "values"), VALUES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_members_are_their_strings(enum: type[RealtimeModel], values: dict[str, str]) -> None:
    assert {member.name: member.value for member in enum} == values
    assert all(member == value and f"{member}" == value for member, value in zip(enum, values.values(), strict=True))


def test_turn_detection_defaults() -> None:
    assert SemanticVAD().eagerness is SemanticEagerness.AUTO
    assert SemanticVAD(eagerness="low").eagerness is SemanticEagerness.LOW  # type: ignore[arg-type]
    assert ServerVAD().model_dump() == {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SemanticVAD(eagerness="eager"),
        lambda: SemanticVAD(speed=1),
        lambda: ServerVAD(threshold=1.1),
        lambda: ServerVAD(threshold=-0.1),
        lambda: ServerVAD(prefix_padding_ms=-1),
        lambda: ServerVAD(silence_duration_ms=-1),
        lambda: ServerVAD(threshhold=0.5),
    ],
)
def test_turn_detection_is_checked(wrong: object) -> None:
    with pytest.raises(ValidationError):
        wrong()  # type: ignore[operator]


def test_seeds() -> None:
    assert SeedMessage.user("Hi.") == SeedMessage("user", "Hi.") == SeedMessage(role="user", text="Hi.")
    assert SeedMessage.assistant("Hi.").role == "assistant"
    seed = ConversationSeed.from_pairs(("a", "b"), ("c", "d"))
    assert [(message.role, message.text) for message in seed.messages] == [
        ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"),
    ]  # fmt: skip
    assert ConversationSeed([SeedMessage.user("Hi.")]).messages == [SeedMessage.user("Hi.")]
    assert ConversationSeed.from_pairs().messages == []


def test_seeds_are_checked() -> None:
    with pytest.raises(ValueError, match="role"):
        SeedMessage("system", "Be kind.")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text"):
        SeedMessage("user", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="SeedMessage objects"):
        ConversationSeed(["Hi."])  # type: ignore[list-item]
    with pytest.raises(FrozenInstanceError):
        SeedMessage.user("Hi.").text = "Ho."  # type: ignore[misc]


def test_pauses_between_attempts_to_reconnect() -> None:
    policy = ReconnectPolicy(initial_delay_s=0.5, max_delay_s=3.0, jitter=0.0)
    assert [policy.delay_s(attempt) for attempt in (1, 2, 3, 4, 5, 6, 10_000)] == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0, 3.0]
    varied = ReconnectPolicy(initial_delay_s=1.0, jitter=0.5)
    assert all(0.0 <= varied.delay_s(1) <= 0.5 for _ in range(100))
    pauses = {varied.delay_s(2) for _ in range(100)}
    assert all(0.5 <= pause <= 1.5 for pause in pauses)
    assert len(pauses) > 10


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 0}, {"initial_delay_s": 0}, {"max_delay_s": -1}, {"jitter": 1.1}, {"jitter": -0.1}, {"tries": 3}],
)
def test_policies_that_cannot_work(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ReconnectPolicy(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        ReconnectPolicy().max_attempts = 3  # type: ignore[misc]


def test_an_interruption_policy_is_checked() -> None:
    assert InterruptionPolicy(ignore_backchannels=("jawohl",)).ignore_backchannels == ("jawohl",)
    for wrong in ({"min_speech_ms": -1}, {"min_speech_ms": 2_000}, {"ignore_backchannels": ("...",)}, {"x": 1}):
        with pytest.raises(ValueError, match="InterruptionPolicy"):
            InterruptionPolicy(**wrong)  # type: ignore[arg-type]


def test_a_rotation_policy_is_checked() -> None:
    assert RotationPolicy(after_s=60, latest_s=60).latest_s == 60
    assert RotationPolicy().latest_s < 3_600, "OpenAI and Azure end a session then"
    with pytest.raises(ValidationError, match="at least after_s"):
        RotationPolicy(after_s=60, latest_s=50)
    for wrong in ({"after_s": 0}, {"after_s": 4_000}, {"limit_s": 60}):
        with pytest.raises(ValidationError):
            RotationPolicy(**wrong)  # type: ignore[arg-type]


def test_a_watchdog_policy_is_checked() -> None:
    assert WatchdogPolicy(answer_s=None).answer_s is None
    for wrong in ({"answer_s": 0}, {"ping_s": -1}, {"patience_s": 1}):
        with pytest.raises(ValidationError):
            WatchdogPolicy(**wrong)  # type: ignore[arg-type]
