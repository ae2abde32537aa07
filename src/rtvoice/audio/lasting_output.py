"""An output device that outlives its failures: it is opened again, and goes on from what was heard."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from rtvoice.audio.devices import AudioOutputDevice, ReportsLoss, SupportsFinishResponse, SupportsPause
from rtvoice.audio.pcm import SAMPLE_BYTES, SAMPLE_RATE, samples_in
from rtvoice.audio.position import HeardClock, PlaybackClock, clock_for
from rtvoice.cancellation import is_being_cancelled
from rtvoice.errors import AudioDeviceError

_LOOKS_PER_LIMIT: Final = 4
"""How often a device is looked at within the time that it may stand still."""

_KEPT_SAMPLES: Final = SAMPLE_RATE
"""Audio beyond this is looked through for what has been heard by now."""
_STANDING_LOOK_S: Final = 0.1
"""How often to ask a clock that stands, in seconds."""


class StalledError(AudioDeviceError):
    """The device takes no audio, or its position stands still.

    Attributes:
        waited_s: For how long, in seconds.
    """

    def __init__(self, waited_s: float) -> None:
        super().__init__(f"it has played nothing for {waited_s:.1f} s")
        self.waited_s = waited_s


class LastingClock:
    """What was heard of a device, across its losses: has the members of both clocks of `rtvoice.audio.position`.

    While there is no device, nothing is heard, and nothing is lost.
    """

    def __init__(self, device: object) -> None:
        self._device = device
        self.restart()

    def restart(self) -> None:
        """Begin anew: the device was started."""
        self._clock: HeardClock = clock_for(self._device)
        self._heard = self._accepted = 0
        self._stands = False

    def accept(self, samples: int, now: float) -> None:
        """Count samples that the device is given."""
        self._accepted += samples
        self._clock.accept(samples, now)

    def heard(self, now: float) -> int:
        """Return how many samples have been heard by ``now``."""
        if not self._stands:
            self._heard = self._clock.heard(now)
        return self._heard

    def unheard(self, now: float) -> int:
        """Return how many samples the device was given that have not been heard by ``now``."""
        return self._accepted - self.heard(now)

    def when(self, total: int) -> float:
        """Return the time at which ``total`` samples will have been heard: an estimate, ask again when it has come."""
        return asyncio.get_running_loop().time() + _STANDING_LOOK_S if self._stands else self._clock.when(total)

    def ends_at(self) -> float:
        """Return the time at which everything will have been heard, as things are."""
        return self._clock.ends_at()

    def clear(self, now: float) -> int:
        """Take out what will never be heard; call it right after the device's ``clear_buffer()``.

        Returns:
            The total of samples heard; the line goes on from there.
        """
        self._heard = self._accepted = self._heard if self._stands else self._clock.clear(now)
        return self._accepted

    def settle(self, now: float) -> None:
        """Believe a device that says it is silent: everything accepted so far has been heard."""
        if not self._stands:
            self._clock.settle(now)

    def pause(self, now: float) -> None:
        """Note that the device stands still because it was told to."""
        if not self._stands:
            self._clock.pause(now)

    def resume(self, now: float) -> None:
        """Note that it goes on from the same sample."""
        if not self._stands:
            self._clock.resume(now)

    def stand(self, now: float) -> None:
        """The device was lost: from now on nothing is heard."""
        with suppress(Exception):  # a device that is lost need not know its position; then the last one counts
            self.heard(now)
        self._stands = True

    def go_on(self, *, without_device: bool = False) -> None:
        """The device was opened anew, or is done without: the line goes on after what was heard."""
        start = self._accepted = self._heard
        self._clock = PlaybackClock(line_start=start) if without_device else clock_for(self._device, line_start=start)
        self._stands = False


class LastingOutput:
    """Hands audio to a device; when that fails, has it opened again and hands over again what was not heard.

    Args:
        device: The output device.
        recover: Opens the device again and returns whether that worked. It gets what went wrong, and whether the
            device has played anything since it was opened.
        silent_if_lost: If it did not: go on in time, but without sound. Else everything stands still.
        stall_s: How long the device may play nothing although it should, in seconds; ``None``: for ever.

    Attributes:
        clock: What has been heard. Whoever calls `play` counts the samples there first.
    """

    def __init__(
        self,
        device: AudioOutputDevice,
        *,
        recover: Callable[[BaseException, bool], Awaitable[bool]],
        silent_if_lost: bool = False,
        stall_s: float | None = None,
    ) -> None:
        self.clock = LastingClock(device)
        self._device = device
        self._recover = recover
        self._silent_if_lost = silent_if_lost
        self._stall_s = stall_s
        self._unheard: deque[bytes] = deque()  # the end of the clock's line; its beginning may be heard already
        self._unheard_samples = 0
        self._clears = 0
        self._finished = True  # no further audio follows what was handed over
        self._is_open = True
        self._openings = 0  # so that a failure of the device that was is not taken for one of the device that is
        self._gone = False  # for good
        self._paused = False
        self._calls: set[asyncio.Timeout] = set()  # calls of the open device that have not returned
        self._error: BaseException | None = None
        self._failed = asyncio.Event()
        self._works = asyncio.Event()  # unset from a loss until all is handed over again
        self._works.set()
        self._heard_at_opening = 0
        self._over = asyncio.Event()

    async def play(self, pcm: bytes) -> None:
        """Hand over audio that `clock` has counted; waits as long as the device does, and for its recovery."""
        self._finished = False
        if not self._gone:
            self._remember(pcm)
            await self._ask(self._device.play_chunk, pcm)
            await self.ready()

    @property
    def is_ready(self) -> bool:
        """Whether `ready` would return at once."""
        return self._works.is_set()

    async def ready(self) -> None:
        """Wait while the device is being opened again."""
        await self._works.wait()

    async def finish(self) -> None:
        """Note that the response has no further audio, and tell the device if it wants to know."""
        self._finished = True
        if isinstance(self._device, SupportsFinishResponse):
            await self._ask(self._device.finish_response)

    async def clear(self) -> None:
        """Drop what is not audible yet. Does not wait for a device that is being opened again."""
        self._forget()
        self._clears += 1
        self._finished = True
        await self._ask(self._device.clear_buffer)

    async def pause(self) -> None:
        """Let the device stand still, if it can; until `resume` that is no fault."""
        self._paused = True
        if isinstance(self._device, SupportsPause):
            await self._ask(self._device.pause)

    async def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        if isinstance(self._device, SupportsPause):
            await self._ask(self._device.resume)

    @property
    def is_playing(self) -> bool:
        """The device's hint; without a device, whether something would be playing."""
        if self._is_open:
            return self._device.is_playing
        return not self._gone or asyncio.get_running_loop().time() < self.clock.ends_at()

    async def run(self) -> None:
        """Watch the device and mend it, until `end`."""
        remove = self._device.when_lost(self._lose) if isinstance(self._device, ReportsLoss) else None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._mend(), name="output recovery")]
                if self._stall_s is not None:
                    tasks.append(group.create_task(self._watch(self._stall_s), name="output watchdog"))
                await self._over.wait()
                for task in tasks:
                    task.cancel()
        finally:
            if remove is not None:
                remove()

    def end(self) -> None:
        """Watch and mend no more."""
        self._over.set()
        self._gone = True
        self._works.set()

    # --- what was handed over ---

    def _remember(self, pcm: bytes) -> None:
        self._unheard.append(pcm)
        self._unheard_samples += samples_in(pcm)
        if self._unheard_samples > _KEPT_SAMPLES:
            self._drop_heard()

    def _drop_heard(self) -> None:
        unheard = self.clock.unheard(asyncio.get_running_loop().time())
        while self._unheard and self._unheard_samples - samples_in(self._unheard[0]) >= unheard:
            self._unheard_samples -= samples_in(self._unheard.popleft())

    def _forget(self) -> None:
        self._unheard.clear()
        self._unheard_samples = 0

    def _take_unheard(self) -> list[bytes]:
        """Return what was not heard; from now on it counts as not handed over."""
        self._drop_heard()
        rest = list(self._unheard)
        if rest:
            heard = self._unheard_samples - self.clock.unheard(asyncio.get_running_loop().time())
            rest[0] = rest[0][max(0, heard) * SAMPLE_BYTES :]
        self._forget()
        return rest

    # --- failures ---

    async def _ask(self, member: Callable[..., Awaitable[None]], *arguments: bytes) -> None:
        """Call the device, if there is one. What it raises is a loss, and a lost device is not waited for."""
        if not self._is_open:
            return
        opening = self._openings
        try:
            async with asyncio.timeout(None) as call:
                self._calls.add(call)
                try:
                    await member(*arguments)
                finally:
                    self._calls.discard(call)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            if opening == self._openings:
                self._lose(error)

    def _lose(self, error: BaseException) -> None:
        """Note that the device is lost; `_mend` takes it from here."""
        if not self._is_open or self._over.is_set():
            return
        now = asyncio.get_running_loop().time()
        self._is_open = False
        self._openings += 1
        self._works.clear()
        self.clock.stand(now)
        for call in self._calls:
            call.reschedule(now)
        self._calls.clear()  # one that ignores this is none of the device's that is opened next
        self._error = error
        self._failed.set()

    async def _mend(self) -> None:
        while not self._gone:
            await self._failed.wait()
            self._failed.clear()
            error = self._error or AudioDeviceError("it was lost")
            has_worked = not isinstance(error, StalledError) or self.clock.heard(0.0) > self._heard_at_opening
            if await self._recover(error, has_worked):
                await self._hand_over_again()
            else:
                self._do_without()

    async def _hand_over_again(self) -> None:
        now = asyncio.get_running_loop().time()
        rest, clears = self._take_unheard(), self._clears
        self.clock.go_on()
        self._heard_at_opening = self.clock.heard(now)
        for pcm in rest:
            self.clock.accept(samples_in(pcm), now)
            self._remember(pcm)
        self._is_open = True
        if self._paused:
            await self.pause()
            self.clock.pause(now)
        for pcm in rest:
            if self._is_open and self._clears == clears:
                await self._ask(self._device.play_chunk, pcm)
        if rest and self._finished:
            await self.finish()
        if self._is_open:
            self._works.set()

    def _do_without(self) -> None:
        now = asyncio.get_running_loop().time()
        self._gone = True
        rest = self._take_unheard()
        if self._silent_if_lost:
            self.clock.go_on(without_device=True)
            self.clock.accept(sum(map(samples_in, rest)), now)
        self._works.set()

    async def _watch(self, stall_s: float) -> None:
        loop = asyncio.get_running_loop()
        moved_at, moved_to = loop.time(), (0, 0)
        while True:
            await asyncio.sleep(stall_s / _LOOKS_PER_LIMIT)
            progress = (self._openings, self.clock.heard(loop.time()))
            has_to_move = self._is_open and not self._paused and (self._calls or self.clock.unheard(loop.time()))
            if progress != moved_to or not has_to_move:
                moved_at, moved_to = loop.time(), progress
            elif loop.time() - moved_at >= stall_s:
                self._lose(StalledError(loop.time() - moved_at))
