"""Function calls: each is reported once, and answered exactly once.

The service reports one call up to three times, also for responses that were cancelled half-way, and
wants one output per call and one ``response.create`` per calling response. Pure bookkeeping.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

REMEMBERED_CALLS: Final = 1_000
"""Answered calls remembered, so that a late repetition is not taken for a new call."""


@dataclass(slots=True)
class Call:
    """One function call.

    Attributes:
        call_id: The model's id.
        response_id: The response it stands in.
        name: The function, once known.
        arguments: The decoded arguments, once they are a JSON object.
        problem: Why it cannot be run, if so.
        awaits_phrase: Its holding phrase has yet to be asked for, so its output must wait.
        output: What the model is told.
        respond: Whether the model should say something about it.
        instruction: How it should present it.
        answered: The output was given out.
    """

    call_id: str
    response_id: str
    name: str | None = None
    arguments: dict[str, Any] | None = None
    problem: str | None = None
    reported: bool = False
    awaits_phrase: bool = False
    output: str | None = None
    respond: bool = True
    instruction: str | None = None
    answered: bool = False


@dataclass(slots=True)
class _CallingResponse:
    calls: dict[str, Call] = field(default_factory=dict)
    finished: bool = False
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class FollowUp:
    """All calls of a response are answered.

    Attributes:
        call_ids: The calls.
        respond: Whether the model should say something about them.
        instructions: How to present the results, in call order, without repetition.
    """

    call_ids: list[str]
    respond: bool
    instructions: list[str]


class FunctionCalls:
    """The calls of a session, from their announcement to their output."""

    def __init__(self) -> None:
        self._responses: dict[str, _CallingResponse] = {}
        self._calls: dict[str, Call] = {}
        self._announced: OrderedDict[str, tuple[str | None, str | None]] = OrderedDict()
        self._past: OrderedDict[str, None] = OrderedDict()

    @property
    def open(self) -> list[Call]:
        """Calls that have no output yet."""
        return [call for call in self._calls.values() if not call.answered]

    def get(self, call_id: str) -> Call | None:
        """Return a call that is not yet done with."""
        return self._calls.get(call_id)

    def announce(self, item_id: str, call_id: str | None, name: str | None) -> None:
        """Note the name and id of a call from its item, for reports that lack them."""
        self._announced[item_id] = (call_id, name)
        if len(self._announced) > REMEMBERED_CALLS:
            self._announced.popitem(last=False)

    def report(
        self,
        response_id: str,
        *,
        item_id: str = "",
        call_id: str | None = None,
        name: str | None = None,
        arguments: str | None = None,
    ) -> Call | None:
        """Take in one report of a call.

        Returns:
            The call if it can be run now, which happens once per call.
        """
        announced_id, announced_name = self._announced.get(item_id, (None, None))
        call_id, name = call_id or announced_id, name or announced_name
        if not call_id or call_id in self._past:
            return None
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = Call(call_id, response_id)
            self._responses.setdefault(response_id, _CallingResponse()).calls[call_id] = call
        if call.reported or call.answered:
            return None
        call.name = name or call.name
        call.arguments, problem = _decode(arguments)
        call.problem = problem or (None if call.name else "The call names no function.")
        if call.problem is not None:
            return None
        call.reported = True
        return call

    def finish_response(self, response_id: str, *, cancelled: bool) -> list[Call]:
        """Note that no further calls will come in a response.

        Returns:
            Calls that can never be run and have to be answered with their `Call.problem`. A call that
            was cut short because its response was cancelled is forgotten instead.
        """
        response = self._responses.get(response_id)
        if response is None:
            return []
        response.finished = True
        response.cancelled = cancelled
        broken = [call for call in response.calls.values() if not call.reported and not call.answered]
        if cancelled:
            for call in broken:
                self._forget(call)
            self._tidy(response_id)
            return []
        return broken

    def was_cancelled(self, response_id: str) -> bool:
        """Whether the response was cancelled; its calls are still answered."""
        response = self._responses.get(response_id)
        return response is not None and response.cancelled

    def answer(self, call_id: str, output: str, *, respond: bool = True, instruction: str | None = None) -> Call | None:
        """Take in the output of a call.

        Returns:
            The call if its output may be sent now; ``None`` if it waits for its holding phrase, was
            answered before or is unknown.
        """
        call = self._calls.get(call_id)
        if call is None or call.answered or call.output is not None:
            return None
        call.output, call.respond, call.instruction = output, respond, instruction
        return None if call.awaits_phrase else self._give_out(call)

    def release(self, call_id: str) -> Call | None:
        """Note that the call's holding phrase was asked for or dropped; return the call if its output waited."""
        call = self._calls.get(call_id)
        if call is None or not call.awaits_phrase:
            return None
        call.awaits_phrase = False
        return self._give_out(call) if call.output is not None else None

    def follow_up(self, response_id: str) -> FollowUp | None:
        """Return what comes after a response's calls, once all are answered; only once."""
        response = self._responses.get(response_id)
        if response is None or not response.finished or not all(call.answered for call in response.calls.values()):
            return None
        spoken = [call for call in response.calls.values() if call.respond]
        instructions = list(dict.fromkeys(call.instruction for call in spoken if call.instruction))
        follow_up = FollowUp(list(response.calls), bool(spoken), instructions)
        self._tidy(response_id)
        return follow_up

    def _give_out(self, call: Call) -> Call:
        call.answered = True
        return call

    def _forget(self, call: Call) -> None:
        del self._calls[call.call_id]
        del self._responses[call.response_id].calls[call.call_id]
        self._remember(call.call_id)

    def _tidy(self, response_id: str) -> None:
        response = self._responses[response_id]
        if response.finished and all(call.answered for call in response.calls.values()):
            for call_id in response.calls:
                del self._calls[call_id]
                self._remember(call_id)
            del self._responses[response_id]

    def _remember(self, call_id: str) -> None:
        self._past[call_id] = None
        if len(self._past) > REMEMBERED_CALLS:
            self._past.popitem(last=False)


def _decode(arguments: str | None) -> tuple[dict[str, Any] | None, str | None]:
    """Return the decoded arguments, or what is wrong with them."""
    try:
        decoded = json.loads(arguments or "")
    except (ValueError, RecursionError) as error:
        return None, f"The arguments are not valid JSON ({error}). Call again with a JSON object."
    if not isinstance(decoded, dict):
        return None, f"The arguments must be a JSON object, not {arguments}. Call again with a JSON object."
    return decoded, None
