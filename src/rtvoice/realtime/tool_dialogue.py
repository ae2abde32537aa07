"""Function calls on the wire: their reports become facts, their outputs and what follows become frames."""

from collections.abc import Callable, Collection, Iterable

from rtvoice.events import Event, SpeakHoldingPhraseCommand, ToolCallFinishedEvent, ToolCallRequestedEvent
from rtvoice.realtime import client_events, server_events
from rtvoice.realtime.calls import Call, FunctionCalls
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.responses import Purpose, ResponseArbiter, ResponseRequest
from rtvoice.realtime.sent_items import SentItems


class ToolDialogue:
    """What is said to the server, and asked of it, about function calls.

    Args:
        emit: Takes the facts.
        outbox: Takes the frames.
        sent_items: The items of ours in the conversation.
        arbiter: Where responses are asked for.
        long_calls: Functions that may work for minutes; see `FunctionCalls`.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        outbox: Outbox,
        sent_items: SentItems,
        arbiter: ResponseArbiter,
        *,
        long_calls: Collection[str] = (),
    ) -> None:
        self._emit = emit
        self._outbox = outbox
        self._sent_items = sent_items
        self._arbiter = arbiter
        self._calls = FunctionCalls(long_calls)

    @property
    def open_calls(self) -> list[Call]:
        """Calls that have no output yet."""
        return self._calls.open

    # --- from the server ---

    def announce(self, item: server_events.Item) -> None:
        """Take in the item of a call: later reports of the call may lack what it says."""
        self._calls.announce(item.id, item.call_id, item.name)

    def report(
        self, response_id: str, item_id: str, call_id: str | None, name: str | None, arguments: str | None
    ) -> None:
        """Take in one of the reports of a call."""
        response_id = response_id or self._arbiter.active or ""
        self.finish_others(response_id)
        call = self._calls.report(response_id, item_id, call_id, name, arguments)
        if call is None:
            return
        if call.problem is not None:
            self._refuse(call)
            return
        self._emit(
            ToolCallRequestedEvent(
                call_id=call.call_id, name=call.name, arguments=call.arguments, response_id=call.response_id
            )
        )

    def finish_response(self, response_id: str, *, cancelled: bool) -> None:
        """Take in that a response is over."""
        for call in self._calls.finish_response(response_id, cancelled=cancelled):
            self._refuse(call)
        if cancelled:
            self.release(self._arbiter.drop_holding(response_id))
        self._follow_up(response_id)

    def finish_others(self, response_id: str) -> None:
        """Take in that a response works: there is only one at a time, so all others are over."""
        for other in self._calls.unfinished:
            if other != response_id:
                self.finish_response(other, cancelled=False)

    # --- from the other parts ---

    def speak_holding_phrase(self, command: SpeakHoldingPhraseCommand) -> None:
        """Ask for a phrase while a call is running; nobody needs it if the user speaks or has cut the call short."""
        call = self._calls.get(command.call_id)
        if call is None or not call.reported or call.answered:
            return
        if self._arbiter.user_speaks or self._calls.was_cancelled(call.response_id):
            return
        call.awaits_phrase = self._arbiter.request(
            ResponseRequest(
                Purpose.HOLDING, instructions=[command.phrase], group=call.response_id, call_ids=[call.call_id]
            )
        )

    def tool_finished(self, event: ToolCallFinishedEvent) -> None:
        """Answer a call."""
        call = self._calls.answer(
            event.call_id, event.output, respond=event.respond, instruction=event.result_instruction
        )
        if call is not None:
            self._send_output(call)

    def release(self, call_ids: Iterable[str]) -> None:
        """Send the outputs that waited for a holding phrase, which was asked for or dropped."""
        for call_id in call_ids:
            call = self._calls.release(call_id)
            if call is not None:
                self._send_output(call)

    # --- to the server ---

    def _refuse(self, call: Call) -> None:
        self._calls.answer(call.call_id, f"Error: {call.problem}")
        self._send_output(call)

    def _send_output(self, call: Call) -> None:
        event_id = self._outbox.new_id("output")
        self._outbox.put(client_events.function_call_output(event_id, call.call_id, call.output or ""))
        call.item_number = self._sent_items.add(event_id, call.call_id)
        self._follow_up(call.response_id)

    def _follow_up(self, response_id: str) -> None:
        follow_up = self._calls.follow_up(response_id)
        if follow_up is not None and follow_up.respond:
            self._arbiter.request(
                ResponseRequest(Purpose.ANSWER, instructions=follow_up.instructions, about=follow_up.last_item)
            )
