"""Tools: Python functions that the model may call.

`Tools` registers them, `Tool` is one of them, ``Inject[T]`` marks a parameter that the framework fills from a
`ToolContext`. The library is passive: it knows neither the agent nor its event bus.
"""

from rtvoice.errors import ToolFeedbackError
from rtvoice.tools.call import PreparedCall, ToolOutcome
from rtvoice.tools.inject import Inject, ToolContext, UnresolvedInjection
from rtvoice.tools.registry import Tools
from rtvoice.tools.results import ActionResult, VoidResult
from rtvoice.tools.schema import JsonSchema, RealtimeFunctionTool
from rtvoice.tools.tool import Tool, ToolTimeout

__all__ = [
    "ActionResult",
    "Inject",
    "JsonSchema",
    "PreparedCall",
    "RealtimeFunctionTool",
    "Tool",
    "ToolContext",
    "ToolFeedbackError",
    "ToolOutcome",
    "ToolTimeout",
    "Tools",
    "UnresolvedInjection",
    "VoidResult",
]
