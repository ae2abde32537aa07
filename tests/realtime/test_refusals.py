import json
from pathlib import Path
from typing import Any

import pytest

from rtvoice.errors import AuthenticationFailed, ConnectionFailed, RtvoiceError, ServerError, SessionError
from rtvoice.events import AgentError
from rtvoice.realtime import refusals
from rtvoice.realtime.server_events import Error, Response, StatusDetails


@pytest.mark.parametrize(
    ("code", "message", "benign"),
    [
        ("response_cancel_not_active", "", True),
        ("input_audio_buffer_commit_empty", "", True),
        ("item_truncate_invalid_item_id", "", True),
        ("unsupported_content_type", "", True),
        (None, "Only model output audio messages can be truncated", True),
        ("invalid_value", "Audio content of 3700ms is already shorter than 3760ms", True),
        ("invalid_value", "Invalid value: 'no.such.event'.", False),
        ("unknown_parameter", "", False),
        (None, "", False),
    ],
)
def test_benign_errors(code: str | None, message: str, *, benign: bool) -> None:
    assert refusals.is_benign(Error(code=code, message=message)) is benign


def test_errors_as_users_see_them() -> None:
    assert refusals.as_agent_error(Error(type="t", code="c", message="m", param="p", event_id="e")) == AgentError(
        "t", "m", code="c", event_id="e", param="p"
    )
    assert str(refusals.as_agent_error(Error(code="c"))) == "[error] c"
    assert refusals.as_agent_error(Error()).message == "The server reported an error without saying which."


def test_failed_responses_as_users_see_them() -> None:
    def failure(status: str, **details: Any) -> AgentError | None:
        return refusals.response_failure(Response(status=status, status_details=StatusDetails(**details)))

    assert failure("failed") == AgentError("response_failed", "The response ended as failed.")
    assert failure("incomplete", error=Error()) == AgentError("response_failed", "The response ended as incomplete.")
    assert failure("failed", error=Error(type="t", code="c", message="m")) == AgentError("t", "m", code="c")
    assert failure("incomplete", reason="content_filter") == AgentError(
        "response_failed", "The response ended as incomplete (content_filter).", code="content_filter"
    )
    assert failure("incomplete", reason="max_output_tokens") is None
    assert failure("cancelled", reason="turn_detected") is None
    assert refusals.response_failure(Response(status="completed")) is None


CLOSES: list[tuple[int | None, str, type[SessionError], str | None, str]] = [
    (3000, "invalid_request_error.invalid_api_key", AuthenticationFailed, "invalid_api_key", "OPENAI_API_KEY"),
    (3000, "", AuthenticationFailed, "invalid_api_key", "OPENAI_API_KEY"),
    (1013, "insufficient_quota.insufficient_quota", AuthenticationFailed, "insufficient_quota", "billing"),
    (1013, "insufficient_quota.credit_balance_exhausted", AuthenticationFailed, "credit_balance_exhausted", "billing"),
    (4000, "invalid_request_error.beta_api_shape_disabled", ConnectionFailed, "beta_api_shape_disabled", "OpenAI-Beta"),
    (4000, "invalid_request_error.missing_model", ConnectionFailed, "missing_model", "model="),
    (4000, "", ConnectionFailed, None, "no reason given"),
    (4004, "invalid_request_error.model_not_found", ConnectionFailed, "model_not_found", "model's name"),
    (4004, "", ConnectionFailed, "model_not_found", "model's name"),
]


@pytest.mark.parametrize(("close_code", "reason", "kind", "code", "advice"), CLOSES)
def test_refusing_closes(
    close_code: int | None, reason: str, kind: type[SessionError], code: str | None, advice: str
) -> None:
    assert refusals.is_refusing_close(None, close_code, reason)

    error = refusals.close_refusal(None, close_code, reason)

    assert type(error) is kind
    assert (error.code, error.close_code) == (code, close_code)
    assert advice in str(error)
    assert f"(close code {close_code})" in str(error)


@pytest.mark.parametrize(
    ("close_code", "reason"),
    [
        (1000, ""),
        (1001, "going away"),
        (1001, "Your session hit the maximum duration of 60 minutes."),
        (None, ""),
        (1006, ""),
        (1009, "message too big"),
        (1011, "keepalive ping timeout"),
        (1012, "service restart"),
        (1013, "try again later"),
    ],
)
def test_other_closes_are_no_refusal(close_code: int | None, reason: str) -> None:
    assert not refusals.is_refusing_close(None, close_code, reason)

    error = refusals.close_refusal(None, close_code, reason)

    assert type(error) is ConnectionFailed
    assert (error.code, error.close_code) == (None, close_code)
    assert str(error).startswith("The connection ended before the session began: ")
    assert reason.rstrip(".") in str(error)


def test_an_error_before_the_close_says_what_it_was() -> None:
    said = Error(code="insufficient_quota", message="You exceeded your current quota.")

    error = refusals.close_refusal(said, 1013, "")

    assert refusals.is_refusing_close(said, 1013, "")
    assert type(error) is AuthenticationFailed
    assert str(error) == (
        "The server refused the session: You exceeded your current quota (close code 1013). "
        "The account has no credit left: check the plan and billing of the organisation."
    )


def test_an_unknown_error_before_the_close_is_passed_on() -> None:
    error = refusals.close_refusal(Error(code="new_code", message="Not today."), None, "")

    assert type(error) is ConnectionFailed
    assert str(error) == "The server refused the session: Not today."
    assert error.code == "new_code"


def test_an_expired_ephemeral_key() -> None:
    said = Error(message="Ephemeral token expired")

    error = refusals.close_refusal(said, None, "")

    assert refusals.is_token_expired(said)
    assert type(error) is AuthenticationFailed
    assert str(error) == (
        "The server refused the session: Ephemeral token expired. Mint a new client secret just before each connection."
    )


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (400, ConnectionFailed, "deployment"),
        (401, AuthenticationFailed, "API key"),
        (403, AuthenticationFailed, "no access"),
        (404, ConnectionFailed, "URL"),
        (429, ConnectionFailed, "wait"),
        (503, ConnectionFailed, "status"),
    ],
)
def test_http_refusals(status: int, kind: type[SessionError], advice: str) -> None:
    error = refusals.http_refusal(status)

    assert type(error) is kind
    assert error.close_code == status
    assert f"HTTP {status}" in str(error)
    assert advice in str(error)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Error(code="unknown_parameter", message="Unknown.", param="session.x"), "(parameter session.x): Unknown. It"),
        (Error(code="unknown_parameter"), "settings: unknown_parameter. It"),
        (Error(), "settings: it did not say why. It"),
    ],
)
def test_settings_refusals(error: Error, sentence: str) -> None:
    refusal = refusals.settings_refusal(error)

    assert type(refusal) is ServerError
    assert isinstance(refusal, RtvoiceError)
    assert refusal.code == error.code
    assert sentence in str(refusal)


FATAL = {"beta_api_shape_disabled", "insufficient_quota", "invalid_api_key", "model_not_found"}


def test_codes_of_the_wire_examples_are_told_apart(event_fixtures: Path) -> None:
    errors = [
        Error.model_validate(json.loads(path.read_text())["error"])
        for path in (event_fixtures / "variants").glob("server.error.*.json")
    ]

    assert {error.code for error in errors if refusals.is_refusal(error.code)} == FATAL
    assert {error.code for error in errors if refusals.is_benign(error)} == refusals.BENIGN
    assert not refusals.is_refusal(None)
