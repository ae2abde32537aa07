"""Which responses run: one in the default conversation, any number beside it (protocol page, sections 7.2 and 7.11)."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rtvoice.testing.conversation import Item
from rtvoice.testing.event_log import JsonObject
from rtvoice.testing.faults import Faults
from rtvoice.testing.item_rules import item_from
from rtvoice.testing.quirks import Quirks
from rtvoice.testing.responses import Response
from rtvoice.testing.script import Reply
from rtvoice.testing.session_rules import check_reasoning, check_voice_change
from rtvoice.testing.usage import PromptPart
from rtvoice.testing.validation import RequestRefused

if TYPE_CHECKING:
    from rtvoice.testing.session import EmulatedSession


class ResponseArbiter:
    """Starts, cancels and ends the responses of one session.

    Args:
        session: The session.
        quirks: What varies.
        faults: What goes wrong.

    Attributes:
        failures: Error objects with which the next responses fail.
    """

    def __init__(self, session: "EmulatedSession", quirks: Quirks, faults: Faults) -> None:
        self._session = session
        self._quirks = quirks
        self._faults = faults
        self._running: dict[str, tuple[Response, Callable[[], object]]] = {}
        self._approved: list[tuple[Reply, str]] = []
        self.last_prompt: Sequence[PromptPart] = ()
        self.failures: list[Mapping[str, Any]] = []

    @property
    def active(self) -> Response | None:
        """The running response of the default conversation."""
        return next((response for response, _ in self._running.values() if not response.out_of_band), None)

    @property
    def any_running(self) -> bool:
        """Whether any response runs, out-of-band ones included."""
        return bool(self._running)

    def create(self, event: JsonObject) -> None:
        """Start what a ``response.create`` asks for.

        Raises:
            RequestRefused: A response runs already, or the parameters are not allowed.
        """
        session, overrides = self._session, event.get("response", {})
        if session.config["type"] != "realtime":
            raise RequestRefused("invalid_value", "A transcription session makes no responses.", "type")
        check_reasoning(overrides, session.config["model"])
        if overrides.get("conversation") != "none":
            if self.active is not None:
                raise RequestRefused(
                    "conversation_already_has_active_response",
                    f"Conversation already has an active response in progress: {self.active.id}. "
                    "Wait until the response is finished before creating a new one.",
                )
            voice = overrides.get("audio", {}).get("output", {}).get("voice")
            if voice is not None and session.conversation.has_assistant_audio:
                check_voice_change(session.config, voice, "response.audio.output.voice")
        context = list(session.conversation)
        if "input" in overrides:
            context = [self._context_item(given, index) for index, given in enumerate(overrides["input"])]
        self._start(Response(session, overrides=overrides, event=event, context=context))

    def _context_item(self, given: JsonObject, index: int) -> Item:
        if given["type"] != "item_reference":
            return item_from(given, self._session.new_id, self._session.input_format)
        item = self._session.conversation.find(given["id"])
        if item is None:
            raise RequestRefused(
                "invalid_value", f"The item with id '{given['id']}' does not exist.", f"response.input[{index}].id"
            )
        return item

    def answer_turn(self) -> None:
        """Answer a turn that turn detection ended, unless the assistant is still at the one before."""
        if self._session.config["type"] == "realtime" and self.active is None:
            self._start_unasked()

    def _start_unasked(self, reply: Reply | None = None, approved: str | None = None) -> None:
        context = list(self._session.conversation)
        self._start(Response(self._session, overrides={}, event=None, context=context, reply=reply, approved=approved))

    def _start(self, response: Response) -> None:
        response.announce()
        if self._quirks.rate_limits == "start":
            self._emit_rate_limits()
        if not response.out_of_band:
            self._session.turns.response_started()
        self._running[response.id] = (response, self._session.start_soon(response.run()))

    def cancel(self, event: JsonObject) -> None:
        """Stop what a ``response.cancel`` means.

        Raises:
            RequestRefused: No such response is running.
        """
        active = self.active
        wanted = event.get("response_id") or (active.id if active is not None else "")
        if wanted not in self._running:
            raise RequestRefused("response_cancel_not_active", "Cancellation failed: no active response found")
        self._cancel(wanted, "client_cancelled")

    def interrupt(self) -> None:
        """Cancel the running response of the default conversation: the user speaks."""
        if self.active is not None:
            self._cancel(self.active.id, "turn_detected")

    def _cancel(self, response_id: str, reason: str) -> None:
        response, stop = self._running[response_id]
        response.cancel(reason, late_deltas=self._faults.late_deltas)
        stop()

    def end(self, response: Response, prompt: Sequence[PromptPart]) -> None:
        """Tell the client that a response is over, and free its place."""
        del self._running[response.id]
        shown = response.wire()
        if response.status == "cancelled" and not self._quirks.cancelled_usage:
            shown["usage"] = None
        self._session.emit("response.done", response=shown)
        if prompt:
            self.last_prompt = prompt
        if response.out_of_band:
            return
        if self._quirks.rate_limits == "end" and response.status in ("completed", "incomplete"):
            self._emit_rate_limits()
        self._session.turns.response_ended(response)
        self._make_approved_calls()

    def approved(self, reply: Reply, request_id: str) -> None:
        """Make the MCP calls that the user has approved, as soon as no response is running."""
        self._approved.append((reply, request_id))
        self._make_approved_calls()

    def _make_approved_calls(self) -> None:
        if self._approved and self.active is None:
            self._start_unasked(*self._approved.pop(0))

    def _emit_rate_limits(self) -> None:
        limits = [{"name": "tokens", "limit": 40000, "remaining": 39120, "reset_seconds": 1.32}]
        self._session.emit("rate_limits.updated", rate_limits=limits)
