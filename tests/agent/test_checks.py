import logging
from pathlib import Path
from typing import Any

import pytest

from rtvoice import AgentListener, Tools
from rtvoice.agent import checks
from rtvoice.audio import AudioFormat, MicrophoneInput, SpeakerOutput
from rtvoice.errors import ConfigurationError
from rtvoice.settings import InterruptionPolicy, SessionLog


def test_an_error_names_all_types_that_would_do() -> None:
    with pytest.raises(TypeError, match="x must be a int or float, not str"):
        checks.instance("x", "5", (int, float))
    assert checks.instance("x", 5, (int, float)) == 5


@pytest.mark.parametrize("kind", [MicrophoneInput, SpeakerOutput])
def test_a_device_of_ours_at_another_rate_would_speak_at_another_pitch(kind: Any) -> None:
    assert checks.device("audio", kind(sample_rate=24_000), ("start",)).sample_rate == 24_000
    with pytest.raises(ConfigurationError, match="audio: with an agent, leave sample_rate=16000 out"):
        checks.device("audio", kind(sample_rate=16_000), ("start",))

    class Declared(kind):  # type: ignore[misc]
        audio_format = AudioFormat.PCM16_16K

    checks.device("audio", Declared(sample_rate=16_000), ("start",))


def listener_with(*callbacks: str) -> AgentListener:
    async def callback(*_: object) -> None: ...

    return type("Listener", (AgentListener,), dict.fromkeys(callbacks, callback))()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("callbacks", "settings", "words"),
    [
        (["on_user_inactivity_countdown"], {}, ["on_user_inactivity_countdown will never be called"]),
        (["on_user_inactivity_countdown"], {"inactivity_on": True}, []),
        ([], {"inactivity_on": True}, ["no on_user_inactivity_countdown"]),
        (["on_supervisor_started"], {}, ["on_supervisor_started"]),
        (["on_supervisor_started", "on_supervisor_finished"], {}, ["started", "finished"]),
        (["on_supervisor_finished"], {"has_supervisor": True}, []),
        (["on_assistant_transcript_delta"], {}, ["output_modalities"]),
        (["on_assistant_transcript_delta"], {"has_text": True}, []),
        (["on_user_transcript"], {}, []),
    ],
)
def test_callbacks_that_can_never_be_called(
    callbacks: list[str], settings: dict[str, Any], words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    given = {"inactivity_on": False, "has_supervisor": False, "has_text": False, **settings}
    checks.warn_of_idle_hooks(listener_with(*callbacks), **given)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * len(words)
    assert all(word in record.getMessage() for word, record in zip(words, caplog.records, strict=True))


def test_a_listener_without_the_base_class_can_be_judged_too(caplog: pytest.LogCaptureFixture) -> None:
    class Duck:
        def on_supervisor_started(self) -> None: ...

    checks.warn_of_idle_hooks(Duck(), inactivity_on=False, has_supervisor=False, has_text=False)
    assert len(caplog.records) == 1


def test_tools_that_nobody_can_approve(caplog: pytest.LogCaptureFixture) -> None:
    tools = Tools()
    tools.action("Costs money.", name="pay", needs_approval=True)(lambda: None)
    checks.warn_of_unapproved_tools(tools, listener_with("on_tool_approval_requested"))
    assert not caplog.records
    checks.warn_of_unapproved_tools(tools, AgentListener())
    assert "pay" in caplog.text


def test_a_budget_needs_a_price() -> None:
    assert checks.budget(None, "unknown", None) is None
    assert checks.budget(2, "gpt-realtime-2.1", None) == 2
    with pytest.raises(ConfigurationError, match="prices="):
        checks.budget(2, "unknown", None)


def test_the_session_log_is_a_path_or_settings() -> None:
    settings = SessionLog("talk.jsonl", redact_text=True)
    assert checks.session_log(settings) is settings
    assert checks.session_log(None) is None
    assert checks.session_log("talk.jsonl") == SessionLog("talk.jsonl")
    assert checks.session_log(Path("talk.jsonl")) == SessionLog(Path("talk.jsonl"))
    with pytest.raises(TypeError, match="session_log must be a SessionLog or str or Path, not bool"):
        checks.session_log(True)  # type: ignore[arg-type]


def test_an_interruption_policy_needs_what_it_looks_at() -> None:
    policy = InterruptionPolicy()
    assert checks.interruption(None, detects_turns=False, writes_down=False) is None
    assert checks.interruption(policy, detects_turns=True, writes_down=True) is policy
    deaf = InterruptionPolicy(ignore_backchannels=False)
    assert checks.interruption(deaf, detects_turns=True, writes_down=False) is deaf
    with pytest.raises(ConfigurationError, match="turn detection"):
        checks.interruption(policy, detects_turns=False, writes_down=True)
    with pytest.raises(ConfigurationError, match="transcription_model"):
        checks.interruption(policy, detects_turns=True, writes_down=False)
    with pytest.raises(TypeError, match="InterruptionPolicy"):
        checks.interruption("yes", detects_turns=True, writes_down=True)  # type: ignore[arg-type]
