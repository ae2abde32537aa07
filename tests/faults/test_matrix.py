"""Every fault at every moment of a conversation, over real sockets, with the real agent.

Within a bound the agent talks again, or it has ended with a result and a reason; what takes longer is reported
meanwhile. No turn is lost, every call is answered once, and nothing is left behind (see the fixture
``nothing_left_behind``).

``RTVOICE_FAULTS=all`` also tries at every moment what is much like something else.
"""

import inspect
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.catalogue import FAULTS, SPOILED_S, Fault, Outcome
from tests.faults.scene import QUIET_S, Scene, scene

MOMENTS = ("before", "asking", "thinking", "during", "playing", "after", "tool", "reconnect")
WHOLE = os.environ.get("RTVOICE_FAULTS") == "all"


def cases() -> Iterator[tuple[str, str]]:
    """Yield what is tried: of a family that is dealt with alike all moments for the first, and two for the others."""
    families: set[str] = set()
    for name, fault in FAULTS.items():
        all_moments = WHOLE or fault.family not in families
        families |= {fault.family} - {""}
        yield from ((name, moment) for moment in (MOMENTS if all_moments else ("before", "during")))


@pytest.mark.virtual_clock
@pytest.mark.parametrize(("name", "moment"), list(cases()))
async def test_a_fault_at_a_moment(
    name: str, moment: str, converse: Any, monkeypatch: pytest.MonkeyPatch, self_signed: Any
) -> None:
    fault = FAULTS[name]
    async with scene(converse, monkeypatch, self_signed) as stage:
        await getattr(stage, moment)()
        struck = fault.strike(stage)
        if inspect.isawaitable(struck):
            await struck
        if fault.asks_again:
            await stage.ask("Are you there?")
            await stage.until(lambda: bool(stage.listener.all("agent_error")), 30.0)
        elapsed = await stage.prove(after_s=SPOILED_S + 0.5 if fault.spoils else 0.2)
        talks = stage.talks
    assert talks == (fault.outcome in (Outcome.GOES_ON, Outcome.RECONNECTS)), stage.listener.calls
    if elapsed > QUIET_S:
        assert stage.has_said_so, f"silent for {elapsed:.0f} s without a word"
    check_outcome(fault, stage, moment)
    if not fault.spoils:
        stage.check_history()
        stage.check_calls()


def check_outcome(fault: Fault, stage: Scene, moment: str) -> None:
    """What the program is told is what the table says."""
    names, errors = stage.listener.names, stage.listener.all("agent_error")
    lost_before = moment == "reconnect"
    assert {error.type for error in errors} >= fault.errors
    assert names[-1] == "agent_stopped"
    if not fault.spoils:
        assert set(stage.listener.all("watchdog_fired")) <= fault.watchdogs
    match fault.outcome:
        case Outcome.GOES_ON:
            if not fault.spoils:  # else the agent may take a fresh connection, or report what it cannot understand
                assert len(stage.server.sessions) == 1 + lost_before
                assert {error.type for error in errors} == fault.errors
        case Outcome.RECONNECTS:
            assert len(stage.server.sessions) >= 2 + lost_before
            assert "agent_reconnecting" in names
            assert "agent_reconnected" in names
            assert errors == []
        case Outcome.ENDS:
            assert errors[-1].type == "connection_closed"
        case Outcome.ENDS_QUIETLY:
            assert errors == []
            assert lost_before or "agent_reconnecting" not in names
