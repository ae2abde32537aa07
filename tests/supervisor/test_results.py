from rtvoice.llm import AssistantMessage, Function, SystemMessage, ToolCall
from rtvoice.supervisor import (
    ClarificationCheckpoint,
    SupervisorClarificationNeeded,
    SupervisorDone,
    SupervisorResult,
)


def test_defaults() -> None:
    assert SupervisorDone(message="x").success is True


def test_result_is_either() -> None:
    needed = SupervisorClarificationNeeded(question="?", resume_history=[], clarify_call_id="1")
    assert isinstance(needed, SupervisorResult)
    assert isinstance(SupervisorDone(message="x"), SupervisorResult)


def test_checkpoint_and_storage() -> None:
    clarify = ToolCall(id="1", function=Function(name="clarify", arguments="{}"))
    needed = SupervisorClarificationNeeded(
        question="When?",
        resume_history=[SystemMessage(content="s"), AssistantMessage(tool_calls=[clarify])],
        clarify_call_id="1",
    )
    assert SupervisorClarificationNeeded.model_validate_json(needed.model_dump_json()) == needed
    assert ClarificationCheckpoint.of(needed) == ClarificationCheckpoint("When?", needed.resume_history, "1")
