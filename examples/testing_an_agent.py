"""Test an agent: with pytest, without a key, without a microphone, without waiting.

pytest examples/testing_an_agent.py
python examples/testing_an_agent.py    the same
"""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import Rehearsal, Reply, ToolCall

tools = Tools()


@tools.action("Current weather of a city")
async def get_weather(city: str) -> str:
    return f"18 °C and partly cloudy in {city}"


@tools.action("Set a timer")
async def set_timer(minutes: int) -> None:
    pass


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="Help in the kitchen.", tools=tools, **devices)


# "voice": a clock that jumps; these eight seconds of conversation take a tenth of a second
@pytest.mark.voice
async def test_weather_then_a_timer(rehearse: Callable[..., Rehearsal]) -> None:
    stage = rehearse(
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
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", "-q", __file__]))  # noqa: S603 - itself
