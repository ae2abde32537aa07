"""Every error that rtvoice raises by itself.

The tree::

    RtvoiceError
    ├── ConfigurationError (ValueError)        a setting that cannot work
    │   └── MissingCredentialsError (RuntimeError)   no API key, endpoint or deployment was found
    ├── AgentStateError (RuntimeError)         a call that does not fit the agent's state, such as a second run()
    ├── AudioDeviceError                       a microphone or loudspeaker cannot be used
    │   └── AudioExtraMissingError (ImportError)     rtvoice[audio] or PortAudio is not installed
    ├── SessionError                           the connection to the Realtime server
    │   ├── ConnectionFailed (ConnectionError)  it could not be opened
    │   ├── AuthenticationFailed               the server refused the credentials
    │   └── SessionLost                        it ended although nobody asked
    ├── ServerError                            the server refused a request or a setting
    ├── ToolError                              tools
    │   ├── ToolDefinitionError (ValueError)         a function that cannot be registered
    │   ├── UnknownToolError (KeyError)              no tool has that name
    │   ├── ToolArgumentsError (ValueError)          arguments that do not fit the function
    │   ├── InjectionError (ValueError)              nothing to put into an ``Inject[...]`` parameter
    │   ├── McpServerError (ConnectionError)         an MCP server cannot be started or reached, or has gone
    │   ├── McpExtraMissingError (ImportError)       rtvoice[mcp] is not installed
    │   └── ToolFeedbackError                        raised by your tool: its message is what the model reads
    ├── LocalExtraMissingError (ImportError)   a part of rtvoice[local] is not installed, or not for this platform
    ├── ChatCompletionError                    a language model answered, but with nothing usable
    └── SupervisorError                        the supervisor's language model failed

Where users of rtvoice 0.7 caught a builtin (``ValueError``, ``RuntimeError``, ``ImportError``,
``KeyError``) the class inherits it, so their ``except`` clauses keep working.
"""


class RtvoiceError(Exception):
    """Base of all errors raised by rtvoice."""


class ConfigurationError(RtvoiceError, ValueError):
    """A setting has a value that can never work; the message says which are possible."""


class MissingCredentialsError(ConfigurationError, RuntimeError):
    """An API key, endpoint or deployment is neither given nor set in the environment."""


class AgentStateError(RtvoiceError, RuntimeError):
    """The agent is in a state in which this call makes no sense, for example a second ``run()``."""


class AudioDeviceError(RtvoiceError):
    """A microphone or loudspeaker cannot be opened, or stopped working."""


class AudioExtraMissingError(AudioDeviceError, ImportError):
    """``sounddevice`` or the PortAudio library behind it is not installed."""


class SessionError(RtvoiceError):
    """The connection to the Realtime server failed.

    Attributes:
        code: The server's error code (``"invalid_api_key"``), when it gave one.
        close_code: The WebSocket close code, or the HTTP status if the upgrade was refused.
    """

    def __init__(self, message: str, *, code: str | None = None, close_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.close_code = close_code


class ConnectionFailed(SessionError, ConnectionError):  # noqa: N818 - reads as what happened: "except ConnectionFailed"
    """The connection could not be opened: network, address, TLS, proxy, or the server refused it."""


class AuthenticationFailed(SessionError):  # noqa: N818 - see ConnectionFailed
    """The server does not accept the key or token, or the account has no credit or access."""


class SessionLost(SessionError):  # noqa: N818 - see ConnectionFailed
    """The connection ended while the conversation was running."""


class ServerError(RtvoiceError):
    """The server refused a request.

    Attributes:
        code: The server's error code, when it gave one.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class ToolError(RtvoiceError):
    """Base of the errors around tools."""


class ToolDefinitionError(ToolError, ValueError):
    """A function cannot be registered as a tool; the message names it and says how to mend it."""


class UnknownToolError(ToolError, KeyError):
    """No tool is registered under that name."""

    def __str__(self) -> str:
        """Return the sentence itself: ``KeyError`` would put it in quotes."""
        return Exception.__str__(self)


class ToolArgumentsError(ToolError, ValueError):
    """The arguments do not fit the tool; the message is written for whoever made the call."""


class InjectionError(ToolError, ValueError):
    """There is nothing of the wanted type to put into an ``Inject[...]`` parameter."""


class McpServerError(ToolError, ConnectionError):
    """An MCP server cannot be started or reached, or has gone; the message says whether a call may have run."""


class McpExtraMissingError(ToolError, ImportError):
    """The ``mcp`` package is not installed, or too old."""


class ToolFeedbackError(ToolError):
    """Raised by a user's tool to tell the model something: exactly this message becomes the tool's output."""


class LocalExtraMissingError(RtvoiceError, ImportError):
    """A part of offline speech is missing, or there is none for this platform; the message says what else to do."""


class ChatCompletionError(RtvoiceError):
    """A language model answered, but it refused, was cut off, or did not give what was asked for."""


class SupervisorError(RtvoiceError):
    """The supervisor's language model raised; the cause is chained."""
