"""How a supervisor's work ends, or pauses."""

from dataclasses import dataclass
from typing import Self, TypeAlias

from pydantic import BaseModel

from rtvoice.llm import Message


class SupervisorDone(BaseModel):
    """The task has ended.

    Attributes:
        message: What the supervisor has to say about it.
        success: False if it did not come to an end by itself; ``message`` then says why.
    """

    message: str
    success: bool = True


class SupervisorClarificationNeeded(BaseModel):
    """The supervisor has a question; hand the answer to ``resume`` together with the other two attributes.

    Attributes:
        question: What to ask the user.
        resume_history: The work so far, for ``resume``. It can be stored as JSON.
        clarify_call_id: The call that the answer belongs to, for ``resume``.
    """

    question: str
    resume_history: list[Message]
    clarify_call_id: str


SupervisorResult: TypeAlias = SupervisorDone | SupervisorClarificationNeeded
"""How ``start`` and ``resume`` end."""


@dataclass(frozen=True, slots=True)
class ClarificationCheckpoint:
    """A paused task: what is needed to go on with it once the user has answered.

    Attributes:
        question: What the user was asked.
        resume_history: See ``SupervisorClarificationNeeded``.
        clarify_call_id: See ``SupervisorClarificationNeeded``.
    """

    question: str
    resume_history: list[Message]
    clarify_call_id: str

    @classmethod
    def of(cls, result: SupervisorClarificationNeeded) -> Self:
        """Make the checkpoint of a result that asks for clarification."""
        return cls(result.question, result.resume_history, result.clarify_call_id)
