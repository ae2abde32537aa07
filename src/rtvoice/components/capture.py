"""Capture: from the input device onto the bus."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from typing import Final, Literal

from rtvoice.audio.devices import AudioInputDevice, AudioStats
from rtvoice.audio.pcm import SampleAligner, pieces
from rtvoice.audio.recovery import DeviceRecovery, describe
from rtvoice.audio.stall import StallWatch
from rtvoice.cancellation import is_being_cancelled
from rtvoice.errors import AudioDeviceError
from rtvoice.events import (
    AgentError,
    AgentErrorEvent,
    AudioDeviceLostEvent,
    AudioDeviceRestoredEvent,
    EventBus,
    StopAgentCommand,
    UserAudioCapturedEvent,
    WatchdogFiredEvent,
)

logger = logging.getLogger(__name__)

_BACKLOG_MS: Final = 2_500
"""Unsent audio at which a device that is faster than real time, such as a file, is made to wait."""
_POLL_S: Final = 0.02
_LATE_S: Final = 0.5
"""How much later than promised a standstill may be noticed."""
_FAIR_SHARE: Final = 8
_PIECE: Final = 4_800
"""Longest piece that is published, in bytes (100 ms): a device may give minutes at once."""
_CLEANED_PIECE: Final = 960
"""The same where echo is taken out, which keeps the event loop for up to a millisecond per 20 ms."""

Clean = Callable[[bytes, float], tuple[bytes, float]]
"""Takes what was captured and the loop time of its last sample; returns what of it is ready, and the same of that."""


class Capture:
    """Reads the user's audio, whatever its chunk size, and publishes it in whole samples.

    Args:
        bus: The agent's bus.
        device: Where the audio comes from.
        on_lost: What follows if the device is lost and cannot be opened again: the end, or silence.
        stall_s: How long a device that delivers all the time may deliver nothing, in seconds; ``None``: for ever.

    Attributes:
        clean: What the sound has to pass before it is published; ``None``: nothing.
    """

    hears = ()
    says = (
        UserAudioCapturedEvent,
        WatchdogFiredEvent,
        AudioDeviceLostEvent,
        AudioDeviceRestoredEvent,
        AgentErrorEvent,
        StopAgentCommand,
    )

    def __init__(
        self,
        bus: EventBus,
        device: AudioInputDevice,
        *,
        on_lost: Literal["end", "continue"] = "end",
        stall_s: float | None = None,
    ) -> None:
        self._bus = bus
        self._device = device
        self._on_lost = on_lost
        self._stall_s = stall_s
        self.clean: Clean | None = None
        self._watch = StallWatch(stall_s)
        self._recovery = DeviceRecovery(device)
        self._has_worked = False
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
            await self._recovery.end()
            await self._device.stop()

    @property
    def stats(self) -> AudioStats:
        """The device's counters."""
        return self._recovery.stats()

    async def run(self) -> None:
        """Publish chunks until the device ends. One that fails is opened again, once; see `DeviceRecovery`."""
        going_on = True
        while going_on:
            try:
                await self._stream()
                return
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                    raise
                if self._stopping:
                    logger.debug("The input device failed while it was being stopped: %s", error)
                    return
                logger.debug("The input device failed", exc_info=True)
                going_on = await self._recover(describe(error))

    async def _recover(self, reason: str) -> bool:
        """Open the device again; return whether that worked, and say so."""
        loop = asyncio.get_running_loop()
        lost_at = loop.time()
        self._bus.publish(AudioDeviceLostEvent(direction="input", reason=reason))
        try:
            await self._recovery.reopen(has_worked=self._has_worked)
        except AudioDeviceError as failure:
            if self._stopping:
                return False
            problem = AgentError("audio_error", f"The input device failed: {reason}; {failure}")
            self._bus.publish(AgentErrorEvent(problem))
            if self._on_lost == "end":
                self._bus.publish(StopAgentCommand(reason="the input device failed"))
            else:
                logger.warning("The conversation goes on without the input device")
            return False
        self._has_worked = False
        gap_ms = round(1000 * (loop.time() - lost_at))
        device = self._recovery.device_name
        self._bus.publish(AudioDeviceRestoredEvent(direction="input", device=device, gap_ms=gap_ms))
        return True

    async def _stream(self) -> None:
        deadline = self._watch.opened(asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout_at(deadline) as patience:
                await self._publish_chunks(patience)
        except TimeoutError as error:
            if not patience.expired():  # the device's own
                raise
            raise AudioDeviceError(f"it has delivered nothing for {self._stall_s:g} s") from error
        if not self._stopping:
            logger.info("The input device has no more audio; the conversation goes on without it")

    async def _publish_chunks(self, patience: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        aligner = SampleAligner()
        started_at = loop.time()
        due = -math.inf  # when our patience with the device ends
        captured_s = 0.0
        count = 0
        chunks = self._device.stream_chunks()
        try:
            async for chunk in chunks:
                now = loop.time()
                self._has_worked = True
                deadline = self._watch.delivered(now)
                if deadline is not None and due < deadline:
                    due = (
                        deadline + _LATE_S
                    )  # moved now and then: a timer for each of 50 chunks a second would cost more
                    patience.reschedule(due)
                pcm = aligner.take(bytes(chunk))
                following = len(pcm)
                for piece in pieces(pcm, _PIECE if self.clean is None else _CLEANED_PIECE):
                    captured_s += len(piece) / 48_000
                    following -= len(piece)
                    if self.clean is not None:
                        await self._publish_cleaned(self.clean, piece, following)
                    else:
                        self._bus.publish(UserAudioCapturedEvent(pcm=piece, captured_at=now))
                    while captured_s > now - started_at and self._network_is_behind():
                        due = -math.inf
                        patience.reschedule(None)  # we make the device wait
                        await asyncio.sleep(_POLL_S)  # the backlog is a number, not an event
                        now = loop.time()
                count += 1
                if count % _FAIR_SHARE == 0:
                    await asyncio.sleep(0)  # a device may never wait for anything
                if self._stopping:
                    return
        except asyncio.CancelledError:
            if patience.expired():
                self._report_stall()
            raise
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    async def _publish_cleaned(self, clean: Clean, pcm: bytes, following: int) -> None:
        """Publish what is left of a piece of a chunk, of which so many bytes follow."""
        pcm, captured_at = clean(pcm, asyncio.get_running_loop().time() - following / 48_000)
        if following:
            await asyncio.sleep(0)  # one piece per turn of the loop
        if pcm:
            self._bus.publish(UserAudioCapturedEvent(pcm=pcm, captured_at=captured_at))

    def _report_stall(self) -> None:
        may_reopen = self._recovery.may_reopen(has_worked=self._has_worked)
        if may_reopen or self._on_lost == "end":
            action: Literal["retry", "stop"] = "retry" if may_reopen else "stop"
            self._bus.publish(WatchdogFiredEvent(watchdog="capture", waited_s=self._stall_s or 0.0, action=action))

    def _network_is_behind(self) -> bool:
        return not self._stopping and self._bus.queued_ms(UserAudioCapturedEvent) > _BACKLOG_MS
