"""Tools: functions of yours that the assistant may call.

python examples/tools.py             a rehearsal with scripted words: no key, no microphone
python examples/tools.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import RealtimeAgent, Tools
from rtvoice.testing import Reply, ScriptedUser, ToolCall, rehearse_or_run
from rtvoice.tools import ToolFeedbackError

tools = Tools()

FORECASTS = {"Berlin": "18 °C and partly cloudy", "Oslo": "9 °C and rain"}


# The model sees name, description and parameters. A default makes a parameter optional.
@tools.action("Current weather of a city")
async def get_weather(city: str) -> str:
    if city not in FORECASTS:
        # The model reads this sentence and can act on it; any other exception would do as well.
        raise ToolFeedbackError(f"No weather station in {city}. There are stations in {', '.join(FORECASTS)}.")
    return FORECASTS[city]


# A plain function runs in a thread, so that it cannot make the sound stutter.
@tools.action("Convert a temperature from Celsius to Fahrenheit")
def to_fahrenheit(celsius: float) -> float:
    return round(celsius * 9 / 5 + 32, 1)


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    return RealtimeAgent(instructions="Answer questions about the weather with your tools.", tools=tools, **devices)


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.says("What is the weather in Berlin, in Fahrenheit?")
    await user.hears("64")


replies = [
    Reply(calls=[ToolCall("get_weather", {"city": "Berlin"})]),
    Reply(calls=[ToolCall("to_fahrenheit", {"celsius": 18})]),
    Reply("It is 64 degrees Fahrenheit and partly cloudy."),
]

if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, replies)
