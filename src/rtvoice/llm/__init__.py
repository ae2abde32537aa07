"""Language models that work on text: messages, chat models, and tools for direct use.

The supervisor thinks with one of these; the voice itself is a Realtime model and needs none.
"""

from rtvoice.llm.chat import ChatInvokeCompletion, ChatInvokeUsage, ChatModel
from rtvoice.llm.messages import (
    AssistantMessage,
    ContentPartImageParam,
    ContentPartTextParam,
    Function,
    ImageURL,
    Message,
    SystemMessage,
    ToolCall,
    ToolResultMessage,
    UserMessage,
)
from rtvoice.llm.openai import BaseOpenAICompatible, ChatAzureOpenAI, ChatOpenAI
from rtvoice.llm.tools import FunctionTool, RawSchemaTool, Tool, tool

__all__ = [
    "AssistantMessage",
    "BaseOpenAICompatible",
    "ChatAzureOpenAI",
    "ChatInvokeCompletion",
    "ChatInvokeUsage",
    "ChatModel",
    "ChatOpenAI",
    "ContentPartImageParam",
    "ContentPartTextParam",
    "Function",
    "FunctionTool",
    "ImageURL",
    "Message",
    "RawSchemaTool",
    "SystemMessage",
    "Tool",
    "ToolCall",
    "ToolResultMessage",
    "UserMessage",
    "tool",
]
