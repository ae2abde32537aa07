from typing import Any

from rtvoice.supervisor import SupervisorDone, TextAgent
from rtvoice.tools import Inject, Tools


async def test_works_until_it_answers(script: Any, call: Any) -> None:
    tools = Tools()

    @tools.action("Say who is there")
    async def done(who: Inject[str]) -> str:  # a name that is free here
        return f"{who} is there"

    llm = script([call("1", "done"), call("2", "clarify", question="?")], "Anna is there.")
    agent: TextAgent[None] = TextAgent(
        description="Knows who is there",
        system_prompt="Be brief.",
        llm=llm,
        tools=tools,
        tool_dependencies=[1.5, "Anna"],
        handoff_instructions="h",
        result_instructions="r",
    )
    assert agent.name == "text_agent"
    assert (agent.handoff_instructions, agent.result_instructions, agent.holding_instruction) == ("h", "r", None)
    assert await agent.start("Who is there?") == SupervisorDone(message="Anna is there.")
    assert llm.texts(0)[0] == ("system", "Be brief.")
    assert [tool["function"]["name"] for tool in llm.tools] == ["done"]
    assert llm.results()["1"] == "Anna is there"
    assert "no tool named 'clarify'" in llm.results()["2"]
