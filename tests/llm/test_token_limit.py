from typing import Any

import pytest

from rtvoice.llm.token_limit import TokenLimitName

OPENAI = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
OTHERS = "Unrecognized request argument supplied: max_completion_tokens"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "max_tokens"),
        ("gpt-4.1-mini", "max_tokens"),
        ("llama3.2", "max_tokens"),
        ("gpt-oss:20b", "max_tokens"),
        ("o1-mini", "max_completion_tokens"),
        ("o4-mini", "max_completion_tokens"),
        ("gpt-5.4-mini", "max_completion_tokens"),
        ("gpt-6", "max_completion_tokens"),
    ],
)
def test_known_models(model: str, name: str) -> None:
    assert TokenLimitName().apply({"model": model, "max_tokens": 5, "seed": 1}) == {"model": model, name: 5, "seed": 1}


def test_without_a_limit() -> None:
    body = {"model": "o1"}
    assert TokenLimitName().apply(body) == {"model": "o1"}
    assert not TokenLimitName().learn(body, OPENAI)


def test_max_completion_tokens_is_left_and_counts() -> None:
    body = {"model": "gpt-4o", "max_tokens": 5, "max_completion_tokens": 9}
    assert TokenLimitName().apply(body) == {"model": "gpt-4o", "max_completion_tokens": 9}


@pytest.mark.parametrize(
    ("model", "complaint", "name"),
    [("my-deployment", OPENAI, "max_completion_tokens"), ("o1-distilled", OTHERS, "max_tokens")],
)
def test_learns_from_the_server(model: str, complaint: str, name: str) -> None:
    names = TokenLimitName()
    request: dict[str, Any] = {"model": model, "max_tokens": 5}
    assert names.learn(names.apply(request), complaint)
    assert names.apply(request) == {"model": model, name: 5}
    assert names.apply({"model": "gpt-4", "max_tokens": 5}) == {"model": "gpt-4", "max_tokens": 5}


@pytest.mark.parametrize("complaint", ["max_tokens is too large: 5000", "Unsupported parameter: 'temperature'"])
def test_other_complaints_teach_nothing(complaint: str) -> None:
    names = TokenLimitName()
    assert not names.learn({"model": "m", "max_tokens": 5}, complaint)
    assert names.apply({"model": "m", "max_tokens": 5}) == {"model": "m", "max_tokens": 5}
