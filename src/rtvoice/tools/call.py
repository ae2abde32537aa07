"""One call by the model, from its arguments to the string that it gets back."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rtvoice.cancellation import is_being_cancelled, run_apart
from rtvoice.errors import ToolArgumentsError, ToolError, ToolFeedbackError, UnknownToolError
from rtvoice.tools.inject import ToolContext
from rtvoice.tools.results import ActionResult, error_text, readable, result_text
from rtvoice.tools.tool import Tool, ToolTimeout

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What became of a call.

    Attributes:
        output: The string for the model's ``function_call_output``.
        success: Whether the tool did its work.
        respond: Whether the assistant speaks about it. Failures always ask for it.
        result_instruction: How the model shall present the result; None after a failure.
        error_type: The name of the exception's class after a failure, such as ``"TimeoutError"``.
    """

    output: str
    success: bool
    respond: bool
    result_instruction: str | None = None
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """A call that can be run."""

    tool: Tool
    validated: Any
    context: ToolContext


@dataclass(slots=True, eq=False)
class PreparedCall:
    """A call whose arguments are checked, ready to `run`. Made by `Tools.prepare`.

    Attributes:
        name: The name that the model called.
        tool: The tool; None if there is none of that name.
        phrase: What to say while it runs; None if nothing, and for a call that cannot be run.
        needs_approval: Whether a person has to agree first. False for a call that cannot be run.
        timeout: The tool's own limit in seconds; None for no limit; ``"default"`` leaves it to `run`.
    """

    name: str
    tool: Tool | None
    _work: _Work | ToolOutcome = field(repr=False)  # has the arguments, which do not belong into logs
    phrase: str | None = None
    needs_approval: bool = False
    timeout: ToolTimeout = "default"

    async def run(self, *, default_timeout: float | None = None) -> ToolOutcome:
        """Run the tool and return what the model is told.

        Never raises for anything that the model or the tool did wrong.

        Args:
            default_timeout: Seconds, for a tool without a limit of its own; None for no limit. A tool that is not
                ``async`` is answered in time too, but its thread cannot be stopped and runs on by itself. So does
                an ``async`` one that ignores its cancellation; it is answered a moment later.

        Raises:
            asyncio.CancelledError: The call was cancelled from outside.
        """
        if isinstance(self._work, ToolOutcome):
            return self._work
        limit = default_timeout if self.timeout == "default" else self.timeout
        tool = self._work.tool
        try:
            async with asyncio.timeout(limit) as deadline:
                result = await run_apart(f"tool {self.name}", tool.invoke, self._work.validated, self._work.context)
            return _answered(tool, result)
        except ToolFeedbackError as error:
            logger.info("tool %r gave feedback instead of a result", self.name)
            return _failure(str(error), ToolFeedbackError.__name__)
        except TimeoutError as error:
            if not deadline.expired():
                return _raised(self.name, error)
            logger.warning("tool %r gave no result within %g s", self.name, limit)
            return _failure(
                f"Error: {self.name!r} gave no result within {limit:g} seconds. It may still take effect later.",
                TimeoutError.__name__,
            )
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            return _raised(self.name, error)  # the tool awaited something that somebody else cancelled
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a failing tool never ends a conversation
            return _raised(self.name, error)


def prepare_call(
    name: str, arguments: Mapping[str, Any] | None, tool: Tool | None, context: ToolContext, known: Iterable[str]
) -> PreparedCall:
    """Return a call with checked arguments; see `Tools.prepare`.

    Args:
        name: The name that the model called.
        arguments: Its arguments, decoded from JSON; None stands for none.
        tool: The tool of that name, if there is one.
        context: Where ``Inject[...]`` parameters are filled from.
        known: The names of all tools, for the answer if there is none of that name.
    """
    if tool is None:
        logger.warning("the model called the unknown tool %.64r", name)
        text = f"Error: there is no tool named {name!r}. Available tools: {', '.join(known) or 'none'}."
        return PreparedCall(name, None, _failure(text, UnknownToolError.__name__))
    try:
        validated = tool.validate({} if arguments is None else arguments, from_json=True)
    except ToolArgumentsError as error:
        logger.warning("the model called tool %r with invalid arguments", name)
        return PreparedCall(name, tool, _failure(str(error), ToolArgumentsError.__name__))
    except Exception as error:  # noqa: BLE001 - a validator of the user's model can raise anything
        return PreparedCall(name, tool, _raised(name, error))
    return PreparedCall(
        name,
        tool,
        _Work(tool, validated, context),
        phrase=tool.phrase(validated),
        needs_approval=tool.needs_approval,
        timeout=tool.timeout,
    )


def _answered(tool: Tool, result: Any) -> ToolOutcome:
    """Return the outcome of a function that returned."""
    action = result if isinstance(result, ActionResult) else ActionResult.success(result)
    if action.error is not None:
        return _failure(f"Error: {action.error}", ToolError.__name__)
    return ToolOutcome(
        output=result_text(action.value),
        success=True,
        respond=tool.respond if action.respond is None else action.respond,
        result_instruction=tool.result_instruction if action.instruction is None else action.instruction,
    )


def _raised(name: str, error: BaseException) -> ToolOutcome:
    """Return the outcome of a function that raised; the log names no values above DEBUG."""
    logger.warning("tool %r failed: %s", name, type(error).__name__)
    logger.debug("traceback of tool %r", name, exc_info=error)
    return _failure(f"Error: {error_text(error)}", type(error).__name__)


def _failure(output: str, error_type: str) -> ToolOutcome:
    return ToolOutcome(output=readable(output), success=False, respond=True, error_type=error_type)
