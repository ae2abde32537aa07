"""Token counts by the rules that the service documents (protocol page, section 9.1).

Audio counts exactly: one token per 100 ms of the user, one per 50 ms of the assistant. Text is estimated at four
characters per token, an image at 85 tokens. Cached are those tokens at the start of the prompt that were
there already, unchanged, when the previous response of the session was made.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rtvoice.testing.conversation import Item

CHARACTERS_PER_TOKEN = 4
IMAGE_TOKENS = 85
USER_AUDIO_MS_PER_TOKEN = 100
ASSISTANT_AUDIO_MS_PER_TOKEN = 50


@dataclass(frozen=True, slots=True)
class Tokens:
    """A number of tokens by modality."""

    text: int = 0
    audio: int = 0
    image: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.text + self.audio + self.image

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.text + other.text, self.audio + other.audio, self.image + other.image)


@dataclass(frozen=True, slots=True)
class PromptPart:
    """One piece of a prompt, such as an item: what it is, and what it costs."""

    fingerprint: str
    tokens: Tokens


def text_tokens(text: str) -> int:
    """Return the estimated number of tokens of a text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def item_tokens(item: Item) -> Tokens:
    """Return what one item of the conversation costs as input."""
    data = item.data
    tokens = Tokens(text=text_tokens(data.get("name") or "") + text_tokens(data.get("arguments") or ""))
    if isinstance(data.get("output"), str):
        tokens += Tokens(text=text_tokens(data["output"]))
    per_token = USER_AUDIO_MS_PER_TOKEN if data.get("role") == "user" else ASSISTANT_AUDIO_MS_PER_TOKEN
    for index, part in enumerate(data.get("content", ())):
        if part["type"] == "input_image":
            tokens += Tokens(image=IMAGE_TOKENS)
        elif "text" in part:
            tokens += Tokens(text=text_tokens(part["text"]))
        else:
            tokens += Tokens(audio=item.audio_ms(index) // per_token)
    return tokens


def prompt_parts(instructions: str, tools: Sequence[Any], items: Sequence[Item]) -> list[PromptPart]:
    """Return a response's prompt in the order in which the service caches it: instructions, tools, items."""
    settings = [instructions, json.dumps(list(tools)) if tools else ""]
    parts = [PromptPart(text, Tokens(text=text_tokens(text))) for text in settings]
    for item in items:
        tokens = item_tokens(item)
        parts.append(PromptPart(f"{item.id} {tokens}", tokens))
    return parts


def usage(prompt: Sequence[PromptPart], previous: Sequence[PromptPart], output: Tokens) -> dict[str, Any]:
    """Return the ``usage`` object of ``response.done``."""
    read, cached = Tokens(), Tokens()
    for part in prompt:
        read += part.tokens
    for part, earlier in zip(prompt, previous, strict=False):
        if part != earlier:
            break
        cached += part.tokens
    return {
        "total_tokens": read.total + output.total,
        "input_tokens": read.total,
        "output_tokens": output.total,
        "input_token_details": {
            "text_tokens": read.text,
            "audio_tokens": read.audio,
            "image_tokens": read.image,
            "cached_tokens": cached.total,
            "cached_tokens_details": {
                "text_tokens": cached.text,
                "audio_tokens": cached.audio,
                "image_tokens": cached.image,
            },
        },
        "output_token_details": {"text_tokens": output.text, "audio_tokens": output.audio},
    }
