"""Playback: from the bus to the output device. It alone knows what was heard.

Two loops, so that a device whose ``play_chunk`` waits cannot hold up an interruption: one feeds the device,
the other judges what the user's voice interrupts. An interruption comes to both: to the judge at once, to the
feeder in its place among the audio, where it waits for the verdict.

With an ``InterruptionPolicy`` the server's word that somebody speaks is not for this part: ``Interruption`` judges it,
and tells this part to pause, to go on, or to cut.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from rtvoice import eager
from rtvoice.audio.devices import AudioOutputDevice, AudioStats, SupportsPause, SupportsPosition
from rtvoice.audio.lasting_output import LastingOutput, StalledError
from rtvoice.audio.pcm import SampleAligner, pieces, samples_in
from rtvoice.audio.position import HeardItem, ItemKey, PlaybackLedger
from rtvoice.audio.recovery import DeviceRecovery, describe
from rtvoice.cancellation import is_being_cancelled
from rtvoice.errors import AudioDeviceError
from rtvoice.events import (
    AcceptUserTurnCommand,
    AgentError,
    AgentErrorEvent,
    AssistantAudioCompletedEvent,
    AssistantAudioPlayedEvent,
    AssistantAudioReceivedEvent,
    AssistantInterruptedEvent,
    AssistantPausedEvent,
    AssistantResumedEvent,
    AssistantStartedRespondingEvent,
    AssistantStoppedRespondingEvent,
    AudioDeviceLostEvent,
    AudioDeviceRestoredEvent,
    AudioPlaybackCompletedEvent,
    EventBus,
    InterruptCommand,
    PausePlaybackCommand,
    PlaybackCut,
    ResponseFinishedEvent,
    ResponseStartedEvent,
    ResumePlaybackCommand,
    SpeechDetectedEvent,
    StopAgentCommand,
    UserStartedSpeakingEvent,
    WatchdogFiredEvent,
)
from rtvoice.events.bus import InboxClosed

logger = logging.getLogger(__name__)

UNPLAYED_AUDIO_LIMIT_MS: Final = 10 * 60_000
"""Audio that may wait for a device that takes it slowly; beyond it the oldest is dropped."""

_POLL_S: Final = 0.05
"""How often a device without a position is asked whether it still plays, near the end of a response."""
_SETTLE_S: Final = 0.05
"""How long after the last chunk ``is_playing == False`` may still mean "not yet"."""
_GRACE_S: Final = 0.2
"""How much longer than its duration audio may take on a device that says it still plays."""
_REMEMBERED: Final = 100
"""Interrupted responses remembered: their audio may still arrive."""
_LARGE_CHUNK: Final = 9_600
"""Chunks over 200 ms are handed over in pieces, so that a device that writes them whole can be cut."""
_PIECE: Final = 4_800
_PAUSES: Final = (PausePlaybackCommand, ResumePlaybackCommand)


class _Look:
    """Has the feeder wait for audio that was handed over as it came in."""


_LOOK: Final = _Look()


class Playback:
    """Plays the assistant's audio and says what was heard of it.

    Args:
        bus: The agent's bus.
        device: Where the audio goes.
        on_lost: What follows if the device is lost and cannot be opened again: the end, or an assistant without sound.
        stall_s: How long the device may play nothing although it should, in seconds; ``None``: for ever.
        judged_elsewhere: Whether ``Interruption`` judges what the user's voice interrupts, and not this part.
    """

    hears = (
        ResponseStartedEvent,
        AssistantAudioReceivedEvent,
        AssistantAudioCompletedEvent,
        ResponseFinishedEvent,
        SpeechDetectedEvent,
        InterruptCommand,
        PausePlaybackCommand,
        ResumePlaybackCommand,
    )
    says = (
        AssistantStartedRespondingEvent,
        AssistantStoppedRespondingEvent,
        AssistantInterruptedEvent,
        AssistantPausedEvent,
        AssistantResumedEvent,
        AssistantAudioPlayedEvent,
        AudioPlaybackCompletedEvent,
        UserStartedSpeakingEvent,
        AcceptUserTurnCommand,
        WatchdogFiredEvent,
        AudioDeviceLostEvent,
        AudioDeviceRestoredEvent,
        AgentErrorEvent,
        StopAgentCommand,
    )

    def __init__(
        self,
        bus: EventBus,
        device: AudioOutputDevice,
        *,
        on_lost: Literal["end", "continue"] = "end",
        stall_s: float | None = None,
        judged_elsewhere: bool = False,
    ) -> None:
        self._bus = bus
        self._device = device
        self._on_lost = on_lost
        self._recovery = DeviceRecovery(device)
        self._output = LastingOutput(
            device, recover=self._recover, silent_if_lost=on_lost == "continue", stall_s=stall_s
        )
        self._unplayed = bus.open_inbox(
            *self.hears,
            in_order=True,
            limits_ms={AssistantAudioReceivedEvent: UNPLAYED_AUDIO_LIMIT_MS},
            at_once={AssistantAudioReceivedEvent: self._play_now},
        )
        self._cutting = (InterruptCommand,) if judged_elsewhere else (SpeechDetectedEvent, InterruptCommand)
        self._interruptions = bus.open_inbox(*self._cutting, *_PAUSES, in_order=True)
        # Interruptions come to both loops, so that each knows what came before them.
        self._taken = 0  # interruptions taken from self._unplayed, by whichever loop
        self._judged = 0
        self._judging = True
        self._new_verdict = asyncio.Event()
        self._ledger = PlaybackLedger()
        self._clock = self._output.clock
        self._aligner = SampleAligner()
        self._aligned: ItemKey | None = None  # the item that a spare byte belongs to
        self._generating: OrderedDict[str, None] = OrderedDict()  # responses that the server works on
        self._audible: OrderedDict[str, None] = OrderedDict()  # responses with audio that is not heard to its end
        self._announced: str | None = None  # the one of them that the listener knows of
        self._ending: set[str] = set()  # those that the server has finished
        self._dropped: OrderedDict[str, None] = OrderedDict()  # responses that were interrupted
        self._never_waits = eager.START_AT_ONCE  # the device, as far as we know
        self._waiting: asyncio.Task[None] | None = None  # the audio for which it did, or has failed
        self._handed_over_at = 0.0
        self._hint_works = False
        self._counts = isinstance(device, SupportsPosition)
        self._start_attempted = False
        self._paused = False
        self._may_play = asyncio.Event()  # unset while paused
        self._may_play.set()
        self._on_event: dict[type, Callable[[Any], None]] = {
            ResponseStartedEvent: self._response_started,
            AssistantAudioCompletedEvent: self._audio_completed,
        }

    async def start(self) -> None:
        """Open the device; raises what the device raises."""
        self._start_attempted = True
        await self._device.start()
        self._clock.restart()
        self._hint_works = not self._output.is_playing  # some devices say "playing" whenever they are open

    async def stop(self) -> None:
        """Close the device, if opening it was attempted. What it has not played is dropped."""
        self._interruptions.close()
        self._may_play.set()
        self._unplayed.take_all()
        self._unplayed.close()
        self._drop(self._audible)
        cut_off, self._announced = self._announced, None
        try:
            if self._start_attempted:
                self._start_attempted = False
                self._output.end()
                await self._recovery.end()
                await self._device.stop()
        finally:
            if cut_off is not None:
                self._bus.publish(AssistantStoppedRespondingEvent(response_id=cut_off))

    @property
    def stats(self) -> AudioStats:
        """The device's counters."""
        return self._recovery.stats()

    async def run(self) -> None:
        """Play and judge until `stop`. A device that fails is opened again, once; see `LastingOutput`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._guard(self._judge), name="playback judge")
            group.create_task(self._guard(self._feed), name="playback feeder")
            group.create_task(self._guard(self._output.run), name="playback device")

    async def _recover(self, error: BaseException, has_worked: bool) -> bool:
        """Open the device again, once; return whether that worked, and say so."""
        loop = asyncio.get_running_loop()
        lost_at = loop.time()
        reason = describe(error)
        logger.debug("The output device failed", exc_info=error)
        may_reopen = self._recovery.may_reopen(has_worked=has_worked)
        if isinstance(error, StalledError) and (may_reopen or self._on_lost == "end"):
            action: Literal["retry", "stop"] = "retry" if may_reopen else "stop"
            self._bus.publish(WatchdogFiredEvent(watchdog="playback", waited_s=error.waited_s, action=action))
        self._bus.publish(AudioDeviceLostEvent(direction="output", reason=reason))
        try:
            await self._recovery.reopen(has_worked=has_worked)
        except AudioDeviceError as failure:
            self._bus.publish(
                AgentErrorEvent(AgentError("audio_error", f"The output device failed: {reason}; {failure}"))
            )
            if self._on_lost == "end":
                self._bus.publish(StopAgentCommand(reason="the output device failed"))
            else:
                logger.warning("The conversation goes on without the output device")
            return False
        device, gap_ms = self._recovery.device_name, round(1000 * (loop.time() - lost_at))
        self._bus.publish(AudioDeviceRestoredEvent(direction="output", device=device, gap_ms=gap_ms))
        return True

    async def _guard(self, loop: Callable[[], Any]) -> None:
        try:
            await loop()
        except InboxClosed:
            pass
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            logger.debug("The output device failed", exc_info=True)
            problem = AgentError("audio_error", f"The output device failed: {describe(error)}")
            self._bus.publish(AgentErrorEvent(problem))
            self._bus.publish(StopAgentCommand(reason="the output device failed"))

    # --- feeding the device ---

    async def _feed(self) -> None:
        try:
            await self._feed_on()
        finally:
            if self._waiting is not None:
                self._waiting.cancel()
                await asyncio.wait([self._waiting])

    async def _feed_on(self) -> None:
        while True:
            event = await self._unplayed.get(self._time_to_next_look())
            if self._waiting is not None:
                await asyncio.wait([self._waiting])
                self._waiting.result()
                self._waiting = None
            if type(event) in self._cutting:
                self._taken += 1
            while self._judging and self._judged < self._taken:
                self._new_verdict.clear()
                await self._new_verdict.wait()
            if self._ending:
                self._announce_ends()
            if type(event) is AssistantAudioReceivedEvent:
                await self._play(event)
            elif type(event) is ResponseFinishedEvent:
                await self._response_finished(event)
            elif type(event) is ResumePlaybackCommand:
                await self._may_play.wait()  # only then it is known when the next end will be heard
            elif type(event) in self._on_event:
                self._on_event[type(event)](event)

    def _play_now(self, event: AssistantAudioReceivedEvent) -> bool:
        """Hand over audio as it comes in, while the feeder waits and nothing stands in the way."""
        is_free = not self._ending and self._judged >= self._taken and self._may_play.is_set() and self._output.is_ready
        if not (self._never_waits and is_free):
            return False
        playing = eager.start(self._play(event))
        if not eager.has_succeeded(playing):
            self._never_waits = False
            self._waiting = playing
            self._unplayed.put_first(_LOOK)
        return True

    def _response_started(self, event: ResponseStartedEvent) -> None:
        self._generating[event.response_id] = None

    def _audio_completed(self, event: AssistantAudioCompletedEvent) -> None:
        if event.response_id not in self._dropped:
            self._ledger.complete(ItemKey(event.response_id, event.item_id, event.content_index))

    async def _response_finished(self, event: ResponseFinishedEvent) -> None:
        self._complete(event.response_id)
        if event.response_id in self._ending:
            await self._output.finish()

    def _complete(self, response_id: str) -> None:
        self._generating.pop(response_id, None)
        if response_id in self._audible:
            self._ledger.complete_response(response_id)
            self._ending.add(response_id)

    async def _play(self, event: AssistantAudioReceivedEvent) -> None:
        if event.response_id in self._dropped:
            return
        pcm = self._receive(event)
        await self._may_play.wait()
        is_large = len(pcm) > _LARGE_CHUNK and not self._counts
        for piece in pieces(pcm, _PIECE if is_large else len(pcm)):
            if event.response_id not in self._dropped:
                await self._hand_over(event.response_id, piece)

    def _receive(self, event: AssistantAudioReceivedEvent) -> bytes:
        """Enter audio into the ledger; return its whole samples: an odd last byte waits for the item's next audio."""
        key = ItemKey(event.response_id, event.item_id, event.content_index)
        if key != self._aligned:
            self._aligner.reset()
            self._aligned = key
        pcm = self._aligner.take(event.pcm)
        self._audible[event.response_id] = None
        self._ledger.accept(key, samples_in(pcm))
        return pcm

    async def _hand_over(self, response_id: str, pcm: bytes) -> None:
        await self._output.ready()
        if response_id in self._dropped:  # while the device was opened again
            return
        now = asyncio.get_running_loop().time()
        if self._announced is None:
            self._announce(response_id)
        if self._bus.is_heard(AssistantAudioPlayedEvent):
            self._bus.publish(AssistantAudioPlayedEvent(pcm=pcm, starts_at=max(now, self._clock.ends_at())))
        self._clock.accept(samples_in(pcm), now)
        self._handed_over_at = now
        await self._output.play(pcm)

    # --- what has been heard ---

    def _time_to_next_look(self) -> float | None:
        """Return how long nothing can have been heard to its end, in seconds; ``None`` if nothing plays."""
        if not self._ending or self._paused:
            return None  # the command to go on wakes us
        now = asyncio.get_running_loop().time()
        end = self._ledger.next_end(self._clock.heard(now))
        if end is None:
            return _POLL_S  # heard by our reckoning, but the device says that it still plays
        wait = max(0.001, self._clock.when(end) - now)
        return wait if self._counts else min(_POLL_S, wait)

    def _announce_ends(self) -> None:
        if self._paused:
            return
        now = asyncio.get_running_loop().time()
        heard = self._heard(now)
        if not self._ledger.unplayed(heard) and self._is_late(now):
            return
        for response_id in self._ledger.finished(heard):
            self._ended(response_id)

    def _is_late(self, now: float) -> bool:
        """Whether the device plays longer than the audio lasts, and may."""
        if not self._hint_works or self._counts:
            return False
        return self._output.is_playing and now < self._clock.ends_at() + _GRACE_S

    def _heard(self, now: float) -> int:
        """Return the samples heard by now, believing a device that says it has fallen silent."""
        if self._counts:
            return self._clock.heard(now)
        silent = not self._output.is_playing
        if silent and now - self._handed_over_at >= _SETTLE_S:
            self._clock.settle(now)
        return self._clock.heard(now)

    def _announce(self, response_id: str) -> None:
        self._announced = response_id
        self._bus.publish(AssistantStartedRespondingEvent(response_id=response_id))

    def _ended(self, response_id: str) -> None:
        """Announce that a response was heard to its end, and the one that is heard next."""
        self._ending.discard(response_id)
        self._audible.pop(response_id, None)
        if response_id != self._announced:
            return
        self._announced = None
        self._bus.publish(AssistantStoppedRespondingEvent(response_id=response_id))
        if self._audible:
            self._announce(next(iter(self._audible)))
        else:
            self._bus.publish(AudioPlaybackCompletedEvent())

    # --- interruptions ---

    async def _judge(self) -> None:
        try:
            async for event in self._interruptions:
                if type(event) in _PAUSES:
                    await self._pause(type(event) is PausePlaybackCommand)
                    continue
                by_program = type(event) is InterruptCommand and not event.by_user
                cut_off = await self._interrupt(by_program=by_program)
                await self._pause(False)
                if not by_program:
                    self._bus.publish(UserStartedSpeakingEvent())
                    if type(event) is InterruptCommand:
                        self._bus.publish(AcceptUserTurnCommand(item_id=event.item_id))
                if cut_off is not None:
                    self._bus.publish(AssistantStoppedRespondingEvent(response_id=cut_off))
                self._judged += 1
                self._new_verdict.set()
        finally:
            self._judging = False
            self._new_verdict.set()

    async def _pause(self, pause: bool) -> None:
        """Let the device stand still, or go on; devices that cannot pause play on."""
        if pause == self._paused or not isinstance(self._device, SupportsPause):
            return
        loop = asyncio.get_running_loop()
        self._paused = pause
        if pause:
            self._may_play.clear()
            await self._output.pause()
            self._clock.pause(loop.time())
            self._bus.publish(AssistantPausedEvent(paused_at=loop.time()))
        else:
            await self._output.resume()
            self._clock.resume(loop.time())
            self._may_play.set()
            self._bus.publish(AssistantResumedEvent(resumed_at=loop.time()))

    async def _interrupt(self, *, by_program: bool) -> str | None:
        """Silence the assistant if there is anything to silence; return the response that could be heard."""
        now = asyncio.get_running_loop().time()
        self._take_in_unplayed()
        self._announce_ends()
        heard = self._clock.heard(now) if self._paused else self._heard(now)
        if self._generating.keys() <= self._dropped.keys() and not self._ledger.unplayed(heard):
            return None
        current = self._ledger.current(heard)
        response_ids = tuple(dict.fromkeys((*self._audible, *self._generating)))
        self._drop(response_ids)
        self._audible.clear()
        self._ending.clear()
        await self._output.clear()
        cut_off, self._announced = self._announced, None
        cuts = self._ledger.cut(self._clock.clear(now))
        self._bus.publish(_interruption(cuts, current, response_ids, by_program=by_program, cut_at=now))
        return cut_off

    def _take_in_unplayed(self) -> None:
        """Count what arrived before the interruption but was not handed to the device: it is received, and unheard."""
        while self._taken <= self._judged and (event := self._unplayed.take()) is not None:
            if type(event) in self._cutting:
                self._taken += 1
            elif type(event) is AssistantAudioReceivedEvent:
                if event.response_id not in self._dropped:
                    self._receive(event)
            elif type(event) is ResponseFinishedEvent:
                self._complete(event.response_id)
            elif type(event) in self._on_event:
                self._on_event[type(event)](event)
        if self._waiting is not None:
            self._unplayed.put_first(_LOOK)

    def _drop(self, response_ids: Iterable[str]) -> None:
        """Play nothing more of these responses."""
        self._dropped.update(dict.fromkeys(response_ids))
        while len(self._dropped) > _REMEMBERED:
            self._dropped.popitem(last=False)


def _interruption(
    cuts: list[HeardItem], current: ItemKey | None, response_ids: tuple[str, ...], *, by_program: bool, cut_at: float
) -> AssistantInterruptedEvent:
    """Return the event: the item that was being heard, or else the first that was to be."""
    sounding = next((item for item in cuts if item.key == current), cuts[0] if cuts else None)
    return AssistantInterruptedEvent(
        sounding.key.item_id if sounding else None,
        sounding.heard_ms if sounding else None,
        cuts=tuple(
            PlaybackCut(
                item_id=item.key.item_id,
                content_index=item.key.content_index,
                played_ms=item.heard_ms,
                received_ms=item.received_ms,
                complete=item.complete,
            )
            for item in cuts
        ),
        response_ids=response_ids,
        by_program=by_program,
        cut_at=cut_at,
    )
