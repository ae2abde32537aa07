"""Capture: from the input device onto the bus."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Final

from rtvoice.audio.devices import AudioInputDevice
from rtvoice.audio.pcm import SampleAligner
from rtvoice.events import AgentError, AgentErrorEvent, EventBus, StopAgentCommand, UserAudioCapturedEvent

logger = logging.getLogger(__name__)

_BACKLOG_MS: Final = 2_500
"""Unsent audio at which a device that is faster than real time, such as a file, is made to wait."""
_POLL_S: Final = 0.02
_FAIR_SHARE: Final = 8
_PIECE: Final = 4_800
"""Longest piece that is published, in bytes (100 ms): a device may give minutes at once."""


class Capture:
    """Reads the user's audio, whatever its chunk size, and publishes it in whole samples.

    Args:
        bus: The agent's bus.
        device: Where the audio comes from.
    """

    hears = ()
    says = (UserAudioCapturedEvent, AgentErrorEvent, StopAgentCommand)

    def __init__(self, bus: EventBus, device: AudioInputDevice) -> None:
        self._bus = bus
        self._device = device
        self._start_attempted = False
        self._stopping = False

    async def start(self) -> None:
        """Open the device; raises what the device raises."""
        self._start_attempted = True
        await self._device.start()

    async def stop(self) -> None:
        """Close the device, if opening it was attempted."""
        self._stopping = True
        if self._start_attempted:
            self._start_attempted = False
            await self._device.stop()

    async def run(self) -> None:
        """Publish chunks until the device ends; a device that fails ends the conversation."""
        try:
            await self._stream()
        except Exception as error:
            if self._stopping:
                logger.debug("The input device failed while it was being stopped: %s", error)
                return
            logger.debug("The input device failed", exc_info=True)
            problem = AgentError("audio_error", f"The input device failed: {str(error) or type(error).__name__}")
            self._bus.publish(AgentErrorEvent(problem))
            self._bus.publish(StopAgentCommand(reason="the input device failed"))

    async def _stream(self) -> None:
        loop = asyncio.get_running_loop()
        aligner = SampleAligner()
        publish = self._bus.publish
        started_at = loop.time()
        captured_s = 0.0
        count = 0
        chunks = self._device.stream_chunks()
        try:
            async for chunk in chunks:
                pcm = aligner.take(bytes(chunk))
                for start in range(0, len(pcm), _PIECE):
                    piece = pcm[start : start + _PIECE]
                    publish(UserAudioCapturedEvent(pcm=piece, captured_at=loop.time()))
                    captured_s += len(piece) / 48_000
                    while self._is_ahead(captured_s, started_at):  # noqa: ASYNC110
                        await asyncio.sleep(_POLL_S)  # the backlog is a number, not an event
                count += 1
                if count % _FAIR_SHARE == 0:
                    await asyncio.sleep(0)  # a device may never wait for anything
                if self._stopping:
                    return
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        if not self._stopping:
            logger.info("The input device has no more audio; the conversation goes on without it")

    def _is_ahead(self, captured_s: float, started_at: float) -> bool:
        """Whether the device is faster than real time, and the network does not keep up with it."""
        if captured_s <= asyncio.get_running_loop().time() - started_at:
            return False
        return not self._stopping and self._bus.queued_ms(UserAudioCapturedEvent) > _BACKLOG_MS
