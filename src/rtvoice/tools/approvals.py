"""Tool calls that wait for a person's consent."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

APPROVAL_TIMEOUT_S: Final = 120.0
"""How long a person may take to decide about a tool, in seconds."""

Ask: TypeAlias = Callable[[str, str, Mapping[str, Any]], None]
"""Gets the call's id, the tool's name and the arguments, and returns at once."""


class Approvals:
    """Asks a person about calls and waits for the decisions.

    Args:
        ask: Passes the question on to the person.
        timeout_s: How long the person may take, in seconds; after that the call is refused.
    """

    def __init__(self, ask: Ask, *, timeout_s: float = APPROVAL_TIMEOUT_S) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        self._undecided: dict[str, asyncio.Future[str | None]] = {}

    async def refusal(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> str | None:
        """Ask whether a call may run.

        Returns:
            What to tell the model if it may not; None if it may.
        """
        decision: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._undecided[call_id] = decision
        self._ask(call_id, name, arguments)
        try:
            async with asyncio.timeout(self._timeout_s):
                refusal = await decision
        except TimeoutError:
            return f"Error: nobody approved {name} within {self._timeout_s:g} s, so it was not run."
        finally:
            del self._undecided[call_id]
        return None if refusal is None else f"Error: {name} was not approved, so it was not run.{refusal}"

    def decide(self, call_id: str, *, approved: bool, reason: str | None = None) -> None:
        """Take in a decision; one about a call that does not wait (any more) is ignored.

        Args:
            call_id: The call.
            approved: Whether it may run.
            reason: Told to the model if it may not.
        """
        decision = self._undecided.get(call_id)
        if decision is not None and not decision.done():
            refusal = f" Reason: {reason}." if reason else ""
            decision.set_result(None if approved else refusal)
