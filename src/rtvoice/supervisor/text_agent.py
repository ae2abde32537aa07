"""The plain form of a supervisor: no questions back, the final text is the result."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typing_extensions import TypeVar

from rtvoice.llm import ChatModel
from rtvoice.supervisor.loop import Supervisor
from rtvoice.tools import Tools

T = TypeVar("T", default=None)


class TextAgent(Supervisor[T]):
    """A supervisor without ``done`` and ``clarify``: it works until it answers in plain text.

    ``start`` always returns a ``SupervisorDone``. The names are those that rtvoice 0.8 and later use.

    Args:
        description: As for ``Supervisor``, like all others but:
        system_prompt: The ``instructions`` of a ``Supervisor``.
        llm: See there.
        tools: See there.
        max_iterations: See there.
        handoff_instructions: See there.
        result_instructions: See there.
        tool_dependencies: See there.
        tool_timeout: See there.
    """

    name = "text_agent"
    _endings: ClassVar[Mapping[str, dict[str, Any]]] = {}

    def __init__(
        self,
        *,
        description: str,
        system_prompt: str,
        llm: ChatModel | None = None,
        tools: Tools | None = None,
        max_iterations: int = 10,
        handoff_instructions: str | None = None,
        result_instructions: str | None = None,
        tool_dependencies: Sequence[Any] = (),
        tool_timeout: float | None = 300.0,
    ) -> None:
        super().__init__(
            description=description,
            instructions=system_prompt,
            llm=llm,
            tools=tools,
            max_iterations=max_iterations,
            handoff_instructions=handoff_instructions,
            result_instructions=result_instructions,
            tool_dependencies=tool_dependencies,
            tool_timeout=tool_timeout,
        )
