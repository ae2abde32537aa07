"""Token counts."""

from rtvoice.testing.conversation import Item
from rtvoice.testing.usage import PromptPart, Tokens, item_tokens, prompt_parts, text_tokens, usage


def message(role: str, *content: dict[str, object]) -> Item:
    return Item({"id": "i", "type": "message", "role": role, "content": list(content)})


def test_text_counts_four_characters_a_token() -> None:
    assert [text_tokens("x" * length) for length in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_audio_counts_as_measured_on_the_service() -> None:
    """5.85 s of the user gave 58 tokens, 7.30 s of the assistant 146 (protocol page, section 9.1)."""
    user = message("user", {"type": "input_audio", "transcript": "not counted"})
    user.add_audio(bytes(48 * 5850))
    assert item_tokens(user) == Tokens(audio=58)
    assistant = message("assistant", {"type": "output_audio", "transcript": "not counted"})
    assistant.add_audio(bytes(48 * 7300))
    assert item_tokens(assistant) == Tokens(audio=146)


def test_other_items() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    assert item_tokens(message("user", {"type": "input_text", "text": "12345678"}, image)) == Tokens(text=2, image=85)
    call = Item({"id": "c", "type": "function_call", "name": "abcd", "arguments": "{}"})
    assert item_tokens(call) == Tokens(text=2)
    output = Item({"id": "o", "type": "function_call_output", "output": "12345"})
    assert item_tokens(output) == Tokens(text=2)
    waiting = Item({"id": "m", "type": "mcp_call", "name": "abcd", "arguments": "", "output": None})
    assert item_tokens(waiting) == Tokens(text=1)


def test_cached_is_the_unchanged_beginning() -> None:
    first = message("user", {"type": "input_text", "text": "12345678"})
    spoken = message("user", {"type": "input_audio"})
    spoken.add_audio(bytes(48 * 1000))
    before = prompt_parts("Be brief", [{"type": "function"}], [first])
    now = prompt_parts("Be brief", [{"type": "function"}], [first, spoken])
    used = usage(now, before, Tokens(text=3, audio=20))
    assert used == {
        "total_tokens": 43,
        "input_tokens": 20,
        "output_tokens": 23,
        "input_token_details": {
            "text_tokens": 10,
            "audio_tokens": 10,
            "image_tokens": 0,
            "cached_tokens": 10,
            "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 3, "audio_tokens": 20},
    }


def test_new_instructions_bust_the_cache() -> None:
    before = prompt_parts("Be brief", [], [message("user", {"type": "input_text", "text": "12345678"})])
    now = prompt_parts("Be long", [], [message("user", {"type": "input_text", "text": "12345678"})])
    assert usage(now, before, Tokens())["input_token_details"]["cached_tokens"] == 0


def test_tokens_add_up() -> None:
    assert Tokens(1, 2, 3) + Tokens(10, 20, 30) == Tokens(11, 22, 33)
    assert Tokens(1, 2, 3).total == 6
    assert PromptPart("a", Tokens(1)) == PromptPart("a", Tokens(1))
