"""Show the assistant an image, and talk about it.

python examples/images.py             a rehearsal with scripted words: no key, no microphone
python examples/images.py --openai    talk to it yourself: needs OPENAI_API_KEY and rtvoice[audio]
"""

from typing import Any

from rtvoice import RealtimeAgent
from rtvoice.events import AgentSessionConnectedEvent
from rtvoice.testing import ReplyRequest, ScriptedUser, rehearse_or_run

# A red square as a data URL. For a file: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
RED_SQUARE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAF0lEQVR4nGP4z8BAEiJN9aiGUQ1D"
    "SgMA0Jn/AVxnfwAAAAAASUVORK5CYII="
)


def make_agent(**devices: Any) -> RealtimeAgent[None]:
    agent: RealtimeAgent[None] = RealtimeAgent(instructions="Describe what you see.", **devices)

    async def show(_: AgentSessionConnectedEvent) -> None:
        await agent.send_image(RED_SQUARE, "What do you see?")  # the assistant answers

    agent.event_bus.subscribe(AgentSessionConnectedEvent, show)
    return agent


# --- the rehearsal: what the user says and waits for, and what the model does ---


async def conversation(user: ScriptedUser) -> None:
    await user.hears("red square")
    await user.says("Is it big?")
    await user.hears("small")


def reply(request: ReplyRequest) -> str:
    """Answer from what the server was really sent, instead of from a list."""
    if request.user_text == "What do you see?" and "input_image" in str(request.items[-1]):
        return "I see a red square."
    return "No, it is quite small."


if __name__ == "__main__":
    rehearse_or_run(make_agent, conversation, reply)
