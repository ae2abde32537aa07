"""Function calls: each is reported once, and answered exactly once.

The service reports one call up to three times, also for responses that were cancelled half-way, and
wants one output per call and one ``response.create`` per calling response. Pure bookkeeping.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

logger = logging.getLogger(__name__)

V = TypeVar("V")

REMEMBERED: Final = 1_000
"""Announcements, answered calls and finished responses that are remembered, so that a late report finds its place."""
CALLS_LIMIT: Final = 1_000
"""Calls that may be under way at a time; a model that is so far out of hand gets no answer to further ones."""


@dataclass(slots=True)
class Call:
    """One function call.

    Attributes:
        call_id: The model's id.
        response_id: The response it stands in.
        name: The function, once known.
        arguments: The decoded arguments, once they are a JSON object.
        problem: Why it cannot be run, if so.
        reported: It was given out to be run.
        awaits_phrase: Its holding phrase has yet to be asked for, so its output must wait.
        output: What the model is told.
        respond: Whether the model should say something about it.
        instruction: How it should present it.
        answered: The output was given out.
        item_number: The number of the output among the items that we sent.
    """

    call_id: str
    response_id: str
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    reported: bool = False
    awaits_phrase: bool = False
    output: str | None = None
    respond: bool = True
    instruction: str | None = None
    answered: bool = False
    item_number: int = 0


@dataclass(slots=True)
class _CallingResponse:
    calls: dict[str, Call] = field(default_factory=dict)
    finished: bool = False
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class FollowUp:
    """All calls of a response are answered.

    Attributes:
        respond: Whether the model should say something about them.
        instructions: How to present the results, in call order, without repetition.
        last_item: Number of the last output among the items that we sent.
    """

    respond: bool
    instructions: list[str]
    last_item: int


class FunctionCalls:
    """The calls of a session, from their announcement to their output.

    Args:
        long_calls: Functions that may work for minutes: the outputs of others need not wait for theirs.
    """

    def __init__(self, long_calls: Collection[str] = ()) -> None:
        self._long_calls = frozenset(long_calls)
        self._responses: dict[str, _CallingResponse] = {}  # those with calls that are not done with
        self._calls: dict[str, Call] = {}
        self._announced: OrderedDict[str, tuple[str | None, str | None]] = OrderedDict()
        self._past: OrderedDict[str, None] = OrderedDict()
        self._finished: OrderedDict[str, bool] = OrderedDict()  # responses, and whether they were cancelled

    @property
    def open(self) -> list[Call]:
        """Calls that have no output yet."""
        return [call for call in self._calls.values() if not call.answered]

    @property
    def unfinished(self) -> list[str]:
        """Responses with calls that may still make more."""
        return [response_id for response_id, response in self._responses.items() if not response.finished]

    def get(self, call_id: str) -> Call | None:
        """Return a call that is not yet done with."""
        return self._calls.get(call_id)

    def announce(self, item_id: str, call_id: str | None, name: str | None) -> None:
        """Note the name and id of a call from its item, for reports that lack them."""
        _remember(self._announced, item_id, (call_id, name))

    def report(
        self, response_id: str, item_id: str, call_id: str | None, name: str | None, arguments: str | None
    ) -> Call | None:
        """Take in one report of a call.

        Returns:
            The call if something is to be done now, which happens once per call: it can be run, or it has a
            `Call.problem` that must be answered, because no better report can come.
        """
        announced_id, announced_name = self._announced.get(item_id, (None, None))
        call_id, name = call_id or announced_id, name or announced_name
        if not call_id or call_id in self._past:
            return None
        call = self._calls.get(call_id)
        if call is None:
            call = self._add(call_id, response_id)
        if call is None or call.reported or call.answered:
            return None
        call.name = name or call.name
        call.arguments, call.problem = _decode(arguments)
        if call.problem is None and not call.name:
            call.problem = "The call names no function."
        if call.problem is None:
            call.reported = True
            return call
        response = self._responses[call.response_id]
        if not response.finished:
            return None
        if response.cancelled:
            self._forget(call)
            return None
        return call

    def finish_response(self, response_id: str, *, cancelled: bool) -> list[Call]:
        """Note that a response is over.

        Returns:
            Calls that can never be run and have to be answered with their `Call.problem`. A call that
            was cut short because its response was cancelled is forgotten instead.
        """
        _remember(self._finished, response_id, cancelled)
        response = self._responses.get(response_id)
        if response is None:
            return []
        response.finished, response.cancelled = True, cancelled
        broken = [call for call in response.calls.values() if not call.reported and not call.answered]
        if not cancelled:
            return broken
        for call in broken:
            self._forget(call)
        return []

    def was_cancelled(self, response_id: str) -> bool:
        """Whether the response was cancelled; its calls are still answered."""
        return self._finished.get(response_id, False)

    def answer(self, call_id: str, output: str, *, respond: bool = True, instruction: str | None = None) -> Call | None:
        """Take in the output of a call.

        Returns:
            The call if its output may be sent now; ``None`` if it waits for its holding phrase, was
            answered before or is unknown.
        """
        call = self._calls.get(call_id)
        if call is None or call.output is not None:
            return None
        call.output, call.respond, call.instruction = output, respond, instruction
        call.answered = not call.awaits_phrase
        return call if call.answered else None

    def release(self, call_id: str) -> Call | None:
        """Note that the call's holding phrase was asked for or dropped; return the call if its output waited."""
        call = self._calls.get(call_id)
        if call is None or not call.awaits_phrase:
            return None
        call.awaits_phrase = False
        call.answered = call.output is not None
        return call if call.answered else None

    def follow_up(self, response_id: str) -> FollowUp | None:
        """Return what comes after a response's calls, once it is over and all are answered; only once.

        A long call holds nobody up: what comes after it comes by itself, when it is answered.
        """
        response = self._responses.get(response_id)
        if response is None or not response.finished:
            return None
        answered = [call for call in response.calls.values() if call.answered]
        awaited = [c for c in response.calls.values() if not c.answered and c.name not in self._long_calls]
        if awaited or not answered:
            return None
        for call in answered:
            del self._calls[call.call_id], response.calls[call.call_id]
            _remember(self._past, call.call_id, None)
        if not response.calls:
            del self._responses[response_id]
        spoken = [call for call in answered if call.respond]
        instructions = list(dict.fromkeys(call.instruction for call in spoken if call.instruction))
        return FollowUp(bool(spoken), instructions, max(call.item_number for call in answered))

    def _add(self, call_id: str, response_id: str) -> Call | None:
        if len(self._calls) >= CALLS_LIMIT:
            logger.warning("The model makes more than %d calls at once: one is ignored", CALLS_LIMIT)
            return None
        call = self._calls[call_id] = Call(call_id, response_id)
        response = self._responses.setdefault(response_id, _CallingResponse())
        response.calls[call_id] = call
        if response_id in self._finished:
            response.finished, response.cancelled = True, self._finished[response_id]
        return call

    def _forget(self, call: Call) -> None:
        del self._calls[call.call_id]
        del self._responses[call.response_id].calls[call.call_id]
        if not self._responses[call.response_id].calls:
            del self._responses[call.response_id]
        _remember(self._past, call.call_id, None)


def _decode(arguments: str | None) -> tuple[dict[str, Any], str | None]:
    """Return the decoded arguments, or what is wrong with them."""
    try:
        decoded = json.loads(arguments or "")
    except (ValueError, RecursionError) as error:
        return {}, f"The arguments are not valid JSON ({error}). Call again with a JSON object."
    if not isinstance(decoded, dict):
        return {}, f"The arguments must be a JSON object, not {arguments:.80}. Call again with a JSON object."
    return decoded, None


def _remember(memory: OrderedDict[str, V], key: str, value: V) -> None:
    memory[key] = value
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
