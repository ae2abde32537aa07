import re

import pytest

from rtvoice import errors
from rtvoice.errors import RtvoiceError, ServerError, SessionError, UnknownToolError

CLASSES = {name: value for name, value in vars(errors).items() if isinstance(value, type)}

BUILTINS = {
    "ConfigurationError": ValueError,
    "MissingCredentialsError": RuntimeError,
    "AgentStateError": RuntimeError,
    "AudioExtraMissingError": ImportError,
    "ConnectionFailed": ConnectionError,
    "ToolDefinitionError": ValueError,
    "UnknownToolError": KeyError,
    "ToolArgumentsError": ValueError,
    "InjectionError": ValueError,
}


def test_all_errors_have_one_root() -> None:
    assert all(issubclass(error, RtvoiceError) for error in CLASSES.values())


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_errors_can_be_caught_as_in_0_7(name: str, builtin: type[Exception]) -> None:
    assert issubclass(CLASSES[name], builtin)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    assert errors.__doc__ is not None
    tree = re.findall(r"^    ([│├└─ ]*)(\w+)(?: \((\w+)\))?", errors.__doc__, re.MULTILINE)
    parents: list[str] = []
    drawn = {}
    for lines, name, builtin in tree:
        depth = len(lines) // 4
        parents[depth:] = [name]
        drawn[name] = {parents[depth - 1]} if depth else {"Exception"}
        drawn[name] |= {builtin} if builtin else set()
    assert drawn == {name: {base.__name__ for base in error.__bases__} for name, error in CLASSES.items()}


def test_errors_of_the_server_carry_its_codes() -> None:
    error = SessionError("It refused.", code="invalid_api_key", close_code=3000)
    assert (str(error), error.code, error.close_code) == ("It refused.", "invalid_api_key", 3000)
    assert (SessionError("x").code, SessionError("x").close_code) == (None, None)
    assert ServerError("No such voice.", code="invalid_value").code == "invalid_value"


def test_a_key_error_reads_like_a_sentence() -> None:
    assert str(UnknownToolError("There is no such tool.")) == "There is no such tool."
