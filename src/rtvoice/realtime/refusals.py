"""What the server's complaints mean: harmless, fatal, or worth telling the user.

Codes, close codes and their meaning are those observed on the service; close reasons of refusals read
``<error type>.<error code>``.
"""

import re
from typing import Final

from rtvoice.errors import AuthenticationFailed, ConfigurationError, ConnectionFailed, ServerError, SessionError
from rtvoice.events.facts import AgentError
from rtvoice.realtime.server_events import Error, Response, StatusDetails

BENIGN: Final = frozenset(
    {
        "response_cancel_not_active",  # the server had cancelled by itself
        "input_audio_buffer_commit_empty",  # turn detection had committed first
        "item_truncate_invalid_item_id",  # the item is gone
        "unsupported_content_type",  # truncating an item without audio
    }
)
ALREADY_ACTIVE: Final = "conversation_already_has_active_response"
SESSION_EXPIRED: Final = "session_expired"

_NO_CREDIT: Final = "The account has no credit left: check the plan and billing of the organisation."
_ADVICE: Final = {
    "invalid_api_key": "Check OPENAI_API_KEY or the api_key argument.",
    "insufficient_quota": _NO_CREDIT,
    "credit_balance_exhausted": _NO_CREDIT,
    "model_not_found": "Check the model's name, that it is a realtime model still offered, and the key's access to it.",
    "missing_model": "Give the name of a realtime model with model=.",
    "beta_api_shape_disabled": "The retired beta interface was asked for: take the OpenAI-Beta header out.",
}
_CREDENTIALS: Final = frozenset({"invalid_api_key", "insufficient_quota", "credit_balance_exhausted"})
_CODE_OF_CLOSE: Final = {3000: "invalid_api_key", 4004: "model_not_found"}
_CODE_IN_REASON: Final = re.compile(r"\w+\.(\w+)")
_HTTP_ADVICE: Final = {
    400: "The server did not understand the request: check the provider's URL and, on Azure, the deployment.",
    401: "The server does not accept the credentials: check the API key or token.",
    403: "The credentials have no access to this resource: check the key's project, or the role of the Azure identity.",
    404: "Nothing is there: check the provider's URL, the model's or deployment's name, and on Azure the resource.",
    429: "Too many connections or requests: wait, or raise the rate limit of the account.",
}

_FINAL_HTTP_STATUS: Final = frozenset({400, 401, 403, 404})


def is_benign(error: Error) -> bool:
    """Whether an error only says that a request was superfluous."""
    if error.code in BENIGN:
        return True
    # Both about truncating: beyond the end, which the server measures more finely; an item without audio.
    return "already shorter than" in error.message or "Only model output audio messages" in error.message


def is_refusal(code: str | None) -> bool:
    """Whether an error code means that connecting again cannot help."""
    return code in _ADVICE


def is_token_expired(error: Error) -> bool:
    """Whether an ephemeral key was too old; the server opens the connection all the same, and may leave it open."""
    return "token expired" in error.message.lower()


def is_refusing_close(error: Error | None, close_code: int | None, reason: str) -> bool:
    """Whether a close means that the server does not want this session, rather than that it broke."""
    codes = {error.code if error else None, _code_in(reason)}
    return any(is_refusal(code) for code in codes) or (close_code is not None and 3000 <= close_code < 5000)


def is_final(failure: Exception) -> bool:
    """Whether an attempt to connect has failed in a way that another attempt cannot mend."""
    if isinstance(failure, SessionError):
        return failure.close_code in _FINAL_HTTP_STATUS
    return isinstance(failure, ConfigurationError)


def as_agent_error(error: Error) -> AgentError:
    """Return the error as users see it."""
    return AgentError(
        type=error.type or "error",
        message=error.message or error.code or "The server reported an error without saying which.",
        code=error.code,
        event_id=error.event_id,
        param=error.param,
    )


def response_failure(response: Response) -> AgentError | None:
    """Return the error of a response as users see it; ``None`` if it completed, was cancelled or is just long."""
    details = response.status_details or StatusDetails()
    error, reason = details.error, details.reason
    if error is None and response.status != "failed" and reason != "content_filter":
        return None
    message = f"The response ended as {response.status}" + (f" ({reason})." if reason else ".")
    if error is None:
        return AgentError(type="response_failed", message=message, code=reason)
    return AgentError(
        type=error.type or "response_failed", message=error.message or message, code=error.code, param=error.param
    )


def close_refusal(error: Error | None, close_code: int | None, reason: str) -> SessionError:
    """Return the exception for a session that the server ended before it stood.

    Args:
        error: The ``error`` event that came before the close, if one did.
        close_code: The WebSocket close code; ``None`` if there was no close.
        reason: The close reason.
    """
    code = (error.code if error else None) or _code_in(reason)
    if close_code in _CODE_OF_CLOSE and not is_refusal(code):
        code = _CODE_OF_CLOSE[close_code]
    said = (error.message if error else "") or reason
    where = f" (close code {close_code})" if close_code is not None else ""
    if error is not None and is_token_expired(error):
        advice = "Mint a new client secret just before each connection."
        return AuthenticationFailed(_refused(said, advice, where), code=code, close_code=close_code)
    if is_refusing_close(error, close_code, reason) or error is not None:
        kind = AuthenticationFailed if code in _CREDENTIALS else ConnectionFailed
        return kind(_refused(said, _ADVICE.get(code or "", ""), where), code=code, close_code=close_code)
    how = f"The connection ended before the session began: {said.rstrip('.') or 'the server did not say why'}{where}."
    return ConnectionFailed(f"{how} Check the network and the service's status.", close_code=close_code)


def http_refusal(status: int) -> SessionError:
    """Return the exception for a server that answered the WebSocket upgrade with an HTTP status."""
    advice = _HTTP_ADVICE.get(status, "Check the provider's URL and the service's status.")
    kind = AuthenticationFailed if status in (401, 403) else ConnectionFailed
    return kind(f"The server answered HTTP {status} instead of opening a WebSocket. {advice}", close_code=status)


def settings_refusal(error: Error) -> ServerError:
    """Return the exception for a refused first ``session.update``: none of the settings would apply."""
    where = f" (parameter {error.param})" if error.param else ""
    what = (error.message or error.code or "it did not say why").rstrip(".")
    return ServerError(
        f"The server refused the session's settings{where}: {what}. "
        "It refuses them as a whole, so the agent would have run without its instructions and tools.",
        code=error.code,
    )


def _code_in(reason: str) -> str | None:
    found = _CODE_IN_REASON.fullmatch(reason)
    return found[1] if found else None


def _refused(said: str, advice: str, where: str) -> str:
    said = said.rstrip(".") or "no reason given"
    return f"The server refused the session: {said}{where}. {advice}".rstrip()
