"""Test an agent: with pytest, without a key, without a microphone, without waiting.

pytest examples/testing_an_agent.py
python examples/testing_an_agent.py    the same
"""

import sys
from typing import Any

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import Rehearsal, Reply, ToolCall
from rtvoice.testing.clock import run

tools = Tools()


@tools.action("Current weather of a city")
async def get_weather(city: str) -> str:
    return f"18 °C and partly cloudy in {city}"


@tools.action("Set a timer")
async def set_timer(minutes: int) -> None:
    pass


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="Help in the kitchen.", tools=tools, **devices)


def test_weather_then_a_timer() -> None:
    run(weather_then_a_timer())  # eight seconds of conversation, on a clock that jumps, in a tenth of a second


async def weather_then_a_timer() -> None:
    stage = Rehearsal(
        [
            Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]),
            Reply("It is 18 degrees in Berlin, and partly cloudy. Shall I tell you about tomorrow?"),
            Reply(calls=[ToolCall("set_timer", {"minutes": 5})]),
            Reply("The timer is set."),
        ]
    )
    async with stage.run(make_agent(**stage.devices)) as user:
        await user.says("What is the weather in Berlin?")
        await user.interrupts("Thanks. A timer, five minutes.", after_ms=1500)
        await user.hears("timer is set")
    stage.heard("18 degrees")
    stage.tool_called("get_weather", city="Berlin")
    stage.tool_called("set_timer", minutes=5)
    assert 1500 <= stage.interrupted_at_ms <= 1700
    assert stage.latency_ms < 1500


if __name__ == "__main__":
    import pytest

    sys.exit(pytest.main([__file__, "-q"]))
