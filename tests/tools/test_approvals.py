import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from rtvoice.tools.approvals import Approvals

pytestmark = pytest.mark.virtual_clock


class Person:
    """Takes note of the questions and decides later."""

    def __init__(self, **options: Any) -> None:
        self.questions: list[tuple[str, str, Mapping[str, Any]]] = []
        self.approvals = Approvals(lambda *question: self.questions.append(question), **options)

    async def decides(self, **decision: Any) -> str | None:
        async with asyncio.TaskGroup() as group:
            refusal = group.create_task(self.approvals.refusal("c1", "pay", {"euros": 5}))
            await asyncio.sleep(1)
            self.approvals.decide("c2", approved=True)
            self.approvals.decide("c1", **decision)
            self.approvals.decide("c1", approved=True, reason="too late")
        return refusal.result()


@pytest.mark.parametrize(
    ("decision", "refusal"),
    [
        ({"approved": True}, None),
        ({"approved": True, "reason": "why not"}, None),
        ({"approved": False}, "Error: pay was not approved, so it was not run."),
        (
            {"approved": False, "reason": "too dear"},
            "Error: pay was not approved, so it was not run. Reason: too dear.",
        ),
    ],
)
async def test_decisions(decision: Mapping[str, Any], refusal: str | None) -> None:
    person = Person()
    assert await person.decides(**decision) == refusal
    assert person.questions == [("c1", "pay", {"euros": 5})]


async def test_nobody_decides() -> None:
    person = Person(timeout_s=2.5)
    assert await person.approvals.refusal("c1", "pay", {}) == (
        "Error: nobody approved pay within 2.5 s, so it was not run."
    )
    person.approvals.decide("c1", approved=True)
    assert await person.decides(approved=True) is None


async def test_the_person_may_decide_at_once() -> None:
    approvals = Approvals(lambda call_id, name, arguments: approvals.decide(call_id, approved=True))
    assert await approvals.refusal("c1", "pay", {}) is None
