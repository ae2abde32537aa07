"""What a conversation has used, and what that costs.

Token counts are the server's own. Prices are OpenAI's, in US dollars, as read from the model pages in
August to November 2026; give your own with ``RealtimeAgent(prices=...)`` when they have changed. Costs of a
model that is not in the table are unknown (``None``), never zero.
"""

from collections.abc import Iterable, Mapping
from statistics import median, quantiles
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, computed_field

AUDIO_TOKENS_PER_SECOND: Final = 10
"""The user's audio: one token per 100 ms (OpenAI, "Managing costs")."""


class TokenTotals(BaseModel):
    """Tokens by modality. Cached tokens are part of the input tokens of their modality."""

    model_config = ConfigDict(frozen=True)

    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    output_text: int = 0
    output_audio: int = 0

    @computed_field  # type: ignore[prop-decorator]  # pydantic's documented way; mypy does not know it
    @property
    def total(self) -> int:
        """All tokens, in and out."""
        return self.input_text + self.input_audio + self.input_image + self.output_text + self.output_audio

    @classmethod
    def from_server(cls, usage: Mapping[str, Any]) -> Self:
        """Return the counts of a ``response.done``; whatever is missing counts as nothing.

        Tokens whose modality the server does not tell are taken as text.
        """
        into, cached, out = (
            _mapping(usage.get("input_token_details")),
            _mapping(_mapping(usage.get("input_token_details")).get("cached_tokens_details")),
            _mapping(usage.get("output_token_details")),
        )
        input_audio, input_image = _count(into, "audio_tokens"), _count(into, "image_tokens")
        output_audio = _count(out, "audio_tokens")
        cached_audio, cached_image = _count(cached, "audio_tokens"), _count(cached, "image_tokens")
        return cls(
            input_text=max(_count(into, "text_tokens"), _count(usage, "input_tokens") - input_audio - input_image),
            input_audio=input_audio,
            input_image=input_image,
            cached_text=max(_count(cached, "text_tokens"), _count(into, "cached_tokens") - cached_audio - cached_image),
            cached_audio=cached_audio,
            cached_image=cached_image,
            output_text=max(_count(out, "text_tokens"), _count(usage, "output_tokens") - output_audio),
            output_audio=output_audio,
        )

    def __add__(self, other: "TokenTotals") -> "TokenTotals":
        """Return the sums."""
        return TokenTotals(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


class ModelPrice(BaseModel):
    """Prices of a speech-to-speech model, in US dollars per million tokens."""

    model_config = ConfigDict(frozen=True)

    text_in: float
    text_cached: float
    text_out: float
    audio_in: float
    audio_cached: float
    audio_out: float
    image_in: float
    image_cached: float

    def cost(self, tokens: TokenTotals) -> float:
        """Return the price of these tokens, in US dollars."""
        micro_usd = (
            (tokens.input_text - tokens.cached_text) * self.text_in
            + tokens.cached_text * self.text_cached
            + (tokens.input_audio - tokens.cached_audio) * self.audio_in
            + tokens.cached_audio * self.audio_cached
            + (tokens.input_image - tokens.cached_image) * self.image_in
            + tokens.cached_image * self.image_cached
            + tokens.output_text * self.text_out
            + tokens.output_audio * self.audio_out
        )
        return micro_usd / 1_000_000


class TranscriptionPrice(BaseModel):
    """Price of a transcription model, in US dollars per minute of the user's audio."""

    model_config = ConfigDict(frozen=True)

    per_minute: float


Prices = Mapping[str, ModelPrice | TranscriptionPrice]

_REALTIME_2: Final = ModelPrice(
    text_in=4.0,
    text_cached=0.4,
    text_out=24.0,
    audio_in=32.0,
    audio_cached=0.4,
    audio_out=64.0,
    image_in=5.0,
    image_cached=0.5,
)
_REALTIME_1: Final = _REALTIME_2.model_copy(update={"text_out": 16.0})
_REALTIME_MINI: Final = ModelPrice(
    text_in=0.6,
    text_cached=0.06,
    text_out=2.4,
    audio_in=10.0,
    audio_cached=0.3,
    audio_out=20.0,
    image_in=0.8,
    image_cached=0.08,
)

DEFAULT_PRICES: Final[Prices] = {
    "gpt-realtime-2.1": _REALTIME_2,
    "gpt-realtime-2": _REALTIME_2,
    "gpt-realtime-2.1-mini": _REALTIME_MINI,
    "gpt-realtime-1.5": _REALTIME_1,
    "gpt-realtime": _REALTIME_1,
    "gpt-realtime-mini": _REALTIME_MINI,
    "gpt-transcribe": TranscriptionPrice(per_minute=0.006),
    "gpt-4o-transcribe": TranscriptionPrice(per_minute=0.006),
    "gpt-4o-mini-transcribe": TranscriptionPrice(per_minute=0.003),
}


class UsageReport(BaseModel):
    """What a conversation has used so far.

    Attributes:
        responses: Responses of the model.
        tokens: Their tokens.
        transcribed_seconds: User audio that was transcribed, in seconds.
        cost_usd: What that costs, in US dollars; ``None`` if a price is unknown.
    """

    model_config = ConfigDict(frozen=True)

    responses: int = 0
    tokens: TokenTotals = Field(default_factory=TokenTotals)
    transcribed_seconds: float = 0.0
    cost_usd: float | None = None


class LatencyReport(BaseModel):
    """How long the user waited: from the end of their turn to the first sound (or text) of the answer.

    Attributes:
        turns_ms: Every turn's wait, in milliseconds, in order.
    """

    model_config = ConfigDict(frozen=True)

    turns_ms: tuple[float, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # see TokenTotals
    @property
    def median_ms(self) -> float | None:
        """The middle one; ``None`` without turns."""
        return median(self.turns_ms) if self.turns_ms else None

    @computed_field  # type: ignore[prop-decorator]  # see TokenTotals
    @property
    def p95_ms(self) -> float | None:
        """Nineteen of twenty turns were not slower; ``None`` without turns."""
        if len(self.turns_ms) < 2:
            return self.turns_ms[0] if self.turns_ms else None
        return quantiles(self.turns_ms, n=20, method="inclusive")[-1]


class UsageMeter:
    """Adds up what the server reports.

    Args:
        model: The speech-to-speech model.
        transcription_model: The transcription model, ``None`` for none.
        prices: Prices by model name; they replace or extend `DEFAULT_PRICES`. A dated name such as
            ``gpt-realtime-2025-08-28`` has the price of its undated one.
    """

    def __init__(self, model: str, transcription_model: str | None, prices: Prices | None = None) -> None:
        table = {**DEFAULT_PRICES, **(prices or {})}
        self._model_price = _price(table, model, ModelPrice)
        self._transcription_price = _price(table, transcription_model or "", TranscriptionPrice)
        self._responses = 0
        self._tokens = TokenTotals()
        self._transcribed_s = 0.0

    def add_response(self, usage: Mapping[str, Any]) -> None:
        """Add a finished response."""
        self._responses += 1
        if usage:
            self._tokens += TokenTotals.from_server(usage)

    def add_transcription(self, usage: Mapping[str, Any]) -> None:
        """Add a transcription; the server reports seconds, or tokens of audio."""
        seconds = usage.get("seconds")
        if isinstance(seconds, (int, float)):
            self._transcribed_s += seconds
        else:
            audio = _count(_mapping(usage.get("input_token_details")), "audio_tokens")
            self._transcribed_s += (audio or _count(usage, "input_tokens")) / AUDIO_TOKENS_PER_SECOND

    def report(self) -> UsageReport:
        """Return the totals as of now."""
        return UsageReport(
            responses=self._responses,
            tokens=self._tokens,
            transcribed_seconds=self._transcribed_s,
            cost_usd=self._cost(),
        )

    def _cost(self) -> float | None:
        costs: list[float | None] = [0.0]
        if self._tokens.total:
            costs.append(self._model_price.cost(self._tokens) if self._model_price else None)
        if self._transcribed_s:
            price = self._transcription_price
            costs.append(self._transcribed_s / 60 * price.per_minute if price else None)
        return _sum(costs)


def price_known(model: str, prices: Prices | None = None) -> bool:
    """Whether the price of a speech-to-speech model is known."""
    return _price({**DEFAULT_PRICES, **(prices or {})}, model, ModelPrice) is not None


def _sum(costs: Iterable[float | None]) -> float | None:
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def _price(table: Prices, model: str, kind: type[Any]) -> Any:
    known = (name for name in table if model == name or model.startswith(f"{name}-20"))
    price = table.get(max(known, key=len, default=""))
    return price if isinstance(price, kind) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(mapping: Mapping[str, Any], name: str) -> int:
    value = mapping.get(name)
    return value if isinstance(value, int) and value > 0 else 0
