"""A conversation of the real agent in a world that a plan moves: service, network, user, application, devices, time.

A plan is a string of bytes, two for each step: what happens, and how. Steps that make no sense at the moment are
skipped. After each step the rules of `World.check` must hold, and at the end, when all is quiet, those of
`World.finish`.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any
from unittest import mock

import websockets
from tests.model.devices import Ear, Mouth
from tests.model.link import ClientEnd, Network
from tests.model.service import Session
from websockets.frames import Close

from rtvoice import AgentListener, AgentResult, RealtimeAgent, ReconnectPolicy, RotationPolicy, Tools
from rtvoice.errors import RtvoiceError
from rtvoice.events import (
    AgentErrorEvent,
    AgentReconnectedEvent,
    AgentReconnectingEvent,
    AssistantInterruptedEvent,
    RequestResponseCommand,
)
from rtvoice.testing import EmulatorProvider

INSTANT_S = 0.001
"""As long as a step lasts: on the virtual clock, until everything that follows from it has happened."""
STOP_LIMIT_S = 8.0
"""Within this ``stop()`` has ended everything, whatever the network does."""
SENTENCES = ("One moment.", "Let me see.")

_CLOSES = (
    Close(1000, "bye"),
    Close(1001, "going away"),
    Close(1011, "internal"),
    Close(1012, "restart"),
    Close(4500, "unheard of"),
    None,
    None,
    None,
)
_PAUSES_S = (0.02, 0.02, 0.05, 0.1, 0.1, 0.3, 1.0, 2.5, 5.0, 16.0, 70.0)


class Broken(AssertionError):  # noqa: N818 - a rule is broken
    """A rule of the model does not hold."""


class Witness(AgentListener):
    """Notes the callbacks, and that they come in an order that makes sense."""

    def __init__(self) -> None:
        self.assistant_speaks = self.user_speaks = self.stopped = False
        self.problem: str | None = None

    def _turn(self, name: str, *, begins: bool) -> None:
        if getattr(self, name) is begins:
            self.problem = f"{name} was already {begins}"
        setattr(self, name, begins)

    async def on_assistant_started_responding(self) -> None:
        self._turn("assistant_speaks", begins=True)

    async def on_assistant_stopped_responding(self) -> None:
        self._turn("assistant_speaks", begins=False)

    async def on_user_started_speaking(self) -> None:
        self._turn("user_speaks", begins=True)

    async def on_user_stopped_speaking(self) -> None:
        self._turn("user_speaks", begins=False)

    async def on_agent_stopped(self) -> None:
        if self.stopped:
            self.problem = "on_agent_stopped came twice"
        self.stopped = True


class World:
    """One conversation."""

    def __init__(self, *, detects_turns: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self.network = Network()
        self.mouth, self.ear, self.witness = Mouth(), Ear(), Witness()
        self.jobs: list[asyncio.Future[str]] = []  # tools that run
        self.spoken: set[str] = set()  # messages that the agent took
        self.log: list[str] = []
        self.steps = 0
        self._numbers = 0
        self._detects_turns = detects_turns
        turn_detection: dict[str, Any] = {} if detects_turns else {"turn_detection": None}
        self.agent: RealtimeAgent[None] = RealtimeAgent(
            provider=EmulatorProvider("ws://model", "key"),
            audio_input=self.mouth,
            audio_output=self.ear,
            listener=self.witness,
            tools=self._tools(),
            reconnect=ReconnectPolicy(jitter=0.0),
            rotation=RotationPolicy(after_s=100.0, latest_s=150.0),
            **turn_detection,
        )
        self.running: asyncio.Task[AgentResult]
        self.others: set[asyncio.Task[Any]] = set()
        self._group: asyncio.TaskGroup
        bus = self.agent.event_bus
        self._seen = bus.open_inbox(
            AgentReconnectingEvent, AgentReconnectedEvent, AssistantInterruptedEvent, AgentErrorEvent, in_order=True
        )
        self._cut: dict[int, float] = {}  # responses that were cut, and when
        self._said_recovering_at: float | None = None
        self._errors: list[str] = []
        self._silence_due: ClientEnd | None = None
        self._stop_asked_at: float | None = None
        self._device_failed = False
        self._pause_s = 0.0  # how much time the step takes

    def _tools(self) -> Tools:
        tools = Tools()

        @tools.action("Works until the test lets it end.")
        async def work(n: int) -> str:
            job: asyncio.Future[str] = self.loop.create_future()
            self.jobs.append(job)
            try:
                return await job
            finally:
                self.jobs.remove(job)

        @tools.action("Answers at once.")
        async def quick() -> str:
            return "done"

        @tools.action("Says nothing about it.", respond=False)
        async def quiet() -> str:
            return "noted"

        @tools.action("Is announced.", holding_instruction=SENTENCES[0])
        async def held() -> str:
            await asyncio.sleep(0.5)
            return "done"

        return tools

    # --- life ---

    async def live(self, plan: bytes) -> bytes:
        """Carry out a plan until it or the conversation is over; return the rest of it."""
        with mock.patch.object(websockets, "connect", self.network.connect):
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.running = group.create_task(self.agent.run(), name="the agent")
                try:
                    await asyncio.sleep(0.1)
                    rest = await self._follow(plan)
                    await self.finish()
                    return rest
                except BaseException:
                    self.running.cancel()
                    for other in self.others:
                        other.cancel()
                    raise

    async def _follow(self, plan: bytes) -> bytes:
        for index in range(0, len(plan) - 1, 2):
            if self.running.done():
                return plan[index:]
            if self.apply(plan[index], plan[index + 1]):
                self.steps += 1
                settles = bool(plan[index + 1] & 0x80) or self._pause_s > 0
                await asyncio.sleep(self._pause_s or (INSTANT_S if settles else 0))
                self._pause_s = 0.0
                self.check(settled=settles)
        return b""

    @property
    def end(self) -> ClientEnd:
        """The connection that the agent uses, as far as one can tell from outside: the newest that is set up."""
        ready = [end for end in self.network.ends if end.is_open and end.session.configured]
        return (ready or self.network.ends)[-1]

    @property
    def session(self) -> Session:
        """The newest session."""
        return self.end.session

    def apply(self, what: int, how: int) -> bool:
        """Let something happen; return ``False`` if it cannot happen now."""
        act = _ACTS[what % len(_ACTS)]
        if not self.network.ends:
            return False
        took_place = act(self, how & 0x7F)
        if took_place:
            self.log.append(f"{self.loop.time():.3f} {act.__name__.strip('_')}({how & 0x7F})")
        return took_place

    def _do(self, work: Coroutine[Any, Any, Any]) -> bool:
        task = self._group.create_task(work)
        self.others.add(task)
        task.add_done_callback(self.others.discard)
        return True

    # --- rules ---

    def check(self, *, settled: bool) -> None:
        """Check what must hold at every moment.

        Args:
            settled: Whether everything has happened that follows from the last step.
        """
        for end in self.network.ends:
            if end.violation is not None:
                raise Broken(str(end.violation)) from end.violation
        self._take_in()
        if self.witness.problem is not None:
            raise Broken(self.witness.problem)
        for at, mark in self.ear.taken:
            if at > self._cut.get(mark, at):
                raise Broken(f"response {mark} is played at {at}, after it was cut at {self._cut[mark]}")
        for item_id, milliseconds in self.network.service.truncated.items():
            heard_ms = self.ear.heard_samples[self.network.service.marks[item_id]] / 24
            if abs(heard_ms - milliseconds) > 1 and not self._device_failed:
                raise Broken(f"{item_id} is truncated to {milliseconds} ms, but {heard_ms} ms were heard")
        self.network.service.truncated.clear()
        if not settled:
            return
        if self._silence_due is not None:
            may_know = self._silence_due is self.end and self.end.is_open  # else the word of it was lost, too
            self._silence_due = None
            given_up = any(response.given_up for response in self.session.responses.values())
            if may_know and not (self.end.is_held or given_up or self.running.done()) and self.ear.is_playing:
                raise Broken("the assistant speaks on although the user has begun to speak")
        self._check_state()

    def _take_in(self) -> None:
        for event in self._seen.take_all():
            if type(event) is AssistantInterruptedEvent:
                for cut in event.cuts:
                    mark = self.network.service.marks.get(cut.item_id)
                    if mark is not None and event.cut_at is not None:
                        self._cut.setdefault(mark, event.cut_at)
            elif type(event) is AgentReconnectingEvent:
                self._said_recovering_at = self.loop.time()
            elif type(event) is AgentErrorEvent:
                self._errors.append(str(event.error))
                if event.error.type == "internal_error":
                    raise Broken(str(event.error))

    def _check_state(self) -> None:
        """The agent talks, or recovers and has said so, or has ended with a result and a reason."""
        now = self.loop.time()
        if self.running.done():
            failure = self.running.exception()
            if failure is not None:
                raise Broken(f"run() raised {failure!r}") from failure
            ended_by_server = any(end.close_code == 1000 for end in self.network.ends)
            excused = self._stop_asked_at is not None or self._device_failed or ended_by_server
            if not excused and not self._errors:
                raise Broken("the agent has ended without a reason")
            return
        if self._stop_asked_at is not None and now > self._stop_asked_at + STOP_LIMIT_S:
            raise Broken("the agent goes on although it was told to stop")
        lost_at = self.end.lost_at
        if lost_at is None or now <= lost_at + 2 * INSTANT_S or self._stop_asked_at is not None:
            return
        if self.end.close_code != 1000 and (self._said_recovering_at or 0.0) < lost_at:
            raise Broken("the connection is gone, and the agent has said nothing")

    async def finish(self) -> None:
        """Let everything heal and come to rest, then check what must hold in the end, and stop."""
        await self._heal()
        if not self.running.done() and self._stop_asked_at is None:
            await self._probe()
            self._check_calls()
            self._check_retold()
        self._check_history()
        stopping = self._group.create_task(self.agent.stop())
        await asyncio.sleep(STOP_LIMIT_S)
        if not self.running.done() or not stopping.done():
            raise Broken("stop() does not end the agent")
        if not self.witness.stopped:
            raise Broken("on_agent_stopped was not called")
        await asyncio.sleep(INSTANT_S)
        if self.others:
            raise Broken(f"still waiting: {self.others}")
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            raise Broken(f"tasks are left: {sorted(task.get_name() for task in left)}")
        self._stop_asked_at = self._stop_asked_at or 0.0
        self.check(settled=True)

    async def _heal(self) -> None:
        self.network.refusals.clear()
        quiet_s = 0.0
        for _ in range(400):
            if self.running.done():
                return
            quiet_s = 0.0 if self._help() else quiet_s + 0.25
            if quiet_s > 20.0:  # longer than any pause after which a request is made again
                return
            await asyncio.sleep(0.25)
            self.check(settled=True)
        raise Broken("no end of talking")

    def _help(self) -> bool:
        """Be a service, a user and tools as one wishes them; return whether there was anything to do."""
        end, session = self.end, self.end.session
        if end.is_held:
            end.release()
            return True
        for job in self.jobs:
            if not job.done():
                job.set_result("done")
                return True
        if not end.is_open:
            return True
        session.refuse_creates = 0
        if session.turn is not None:
            session.user_stops(answer_at_once=True)
            return True
        if session.owes_response:
            session.answer()
            return True
        if session.unheard:
            session.transcribe(0, fails=False)
            return True
        for response in (session.active, session.beside):
            if response is not None:
                self._produce(response, session, 1, 99)
                return True
        return False

    def _produce(self, response: Any, session: Session, kind: int, count: int) -> None:
        for _ in range(count):
            try:
                next(response.script)
            except StopIteration:
                if response.over:
                    return
                session.plan(response, kind)

    async def _probe(self) -> None:
        """A message is answered, and the answer is heard."""
        text = self._new_text("probe")
        await self.agent.send_message(text)
        for _ in range(100):
            await asyncio.sleep(0.25)
            self._help()
            self.check(settled=True)
            if self.running.done() and self._device_failed:
                return
            if not self.running.done() and self.session.active is None and not self.ear.is_playing:
                last = list(self.session.items.values())[-2:]
                said = [item.text for item in last[:1]] == [text] and last[-1].role == "assistant"
                if said and self.network.service.marks[last[-1].id] in self.ear.heard_marks:
                    await self._heal()
                    return
        raise Broken(f"a message is not answered: {[vars_of(item) for item in self.session.items.values()][-4:]}")

    def _check_calls(self) -> None:
        """Every complete call in the session has exactly one output."""
        items = self.session.items.values()
        answered = [item.call_id for item in items if item.type == "function_call_output"]
        for item in items:
            if item.type == "function_call" and item.complete and answered.count(item.call_id) != 1:
                raise Broken(f"the call {item.call_id} has {answered.count(item.call_id)} outputs")

    def _check_retold(self) -> None:
        """The session knows everything that was said: by itself, or because it was told again."""
        items = self.session.items
        texts = [item.text for item in items.values()]
        for item_id, (role, words) in self.network.service.words.items():
            if item_id in items or item_id in self.network.service.asides or words in texts:
                continue
            if self._counts(item_id) and self.network.service.marks.get(item_id) not in self._cut:
                raise Broken(f"the session does not know what the {role} said: {words!r}")
        for text in self.spoken:
            if texts.count(text) != 1:
                raise Broken(f"the message {text!r} stands {texts.count(text)} times in the session")

    def _check_history(self) -> None:
        turns = {turn.item_id: turn for turn in self.agent.history.spoken_turns}
        for item_id, (role, words) in self.network.service.words.items():
            turn = turns.get(item_id)
            if not self._counts(item_id):
                continue
            if turn is None or (turn.role, turn.transcript) != (role, words):
                raise Broken(f"the history has {turn} for what the {role} said: {words!r}")
        order = list(turns)
        known = [item_id for item_id in self.session.items if item_id in turns]
        if [item_id for item_id in order if item_id in known] != known:
            raise Broken(f"the history has another order than the conversation: {order} and {known}")

    def _counts(self, item_id: str) -> bool:
        """Whether an item was said: all that the user said, and of the assistant what was completed, or heard."""
        mark = self.network.service.marks.get(item_id)
        service = self.network.service
        whole = mark in service.completed - service.unwanted - service.over_user
        return mark is None or whole or mark in self.ear.heard_marks

    def _new_text(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind} {self._numbers}"

    # --- acts: the service ---

    def _user_starts(self, how: int) -> bool:
        if not self._detects_turns or not self.end.is_open or self.session.turn is not None:
            return False
        self.session.user_starts(cancel_first=bool(how & 1))
        # While a new session takes over, one cannot tell from outside which of the two the agent listens to.
        newest = self.network.ends[-1]
        alone = newest.is_open and sum(end.is_open for end in self.network.ends) == 1
        self._silence_due = newest if alone else None
        return True

    def _user_stops(self, how: int) -> bool:
        if not self.end.is_open or self.session.turn is None:
            return False
        self.session.user_stops(answer_at_once=bool(how & 3))
        self._silence_due = None
        return True

    def _service_answers(self, _: int) -> bool:
        if not self.end.is_open or not self.session.owes_response:
            return False
        self.session.answer()
        return True

    def _transcribes(self, how: int) -> bool:
        if not self.end.is_open or not self.session.unheard:
            return False
        self.session.transcribe(how, fails=how % 8 == 7)
        return True

    def _produces(self, how: int) -> bool:
        """The service goes on with a response."""
        if not self.end.is_open:
            return False
        response = self.session.beside if how & 1 else self.session.active
        response = response or self.session.active
        if response is None:
            return False
        self._produce(response, self.session, how >> 1, 1 + how % 5)
        return True

    def _refuses(self, how: int) -> bool:
        self.session.refuse_creates = how % 2
        return True

    def _complains(self, how: int) -> bool:
        if not self.end.is_open or how % 4:
            return False
        self.session.error("strange", None, "server_error")
        return True

    # --- acts: the network ---

    def _breaks(self, how: int) -> bool:
        if not self.end.is_open or not self.session.configured or how % 6:
            return False
        close = _CLOSES[how // 6 % len(_CLOSES)]
        if close is not None and close.code == 1000 and how % 12:
            return False
        self.network.refusals.extend(("down", "busy", "down", "mute")[: how % 5])
        self.end.hang_up(close)
        return True

    def _expires(self, how: int) -> bool:
        if not self.end.is_open or not self.session.configured or how % 8:
            return False
        self.session.error("session_expired", None)
        self.end.hang_up(Close(1001, "Your session hit the maximum duration of 60 minutes."))
        return True

    def _holds(self, how: int) -> bool:
        if not self.end.is_open:
            return False
        for direction in (("up",), ("down",), ("up", "down"))[how % 3]:
            self.end.hold(direction)
        return True

    def _releases(self, _: int) -> bool:
        if not self.end.is_held:
            return False
        self.end.release()
        return True

    # --- acts: the application ---

    def _sends_message(self, _: int) -> bool:
        text = self._new_text("message")
        if self._stop_asked_at is None:
            self.spoken.add(text)
        return self._do(self.agent.send_message(text))

    def _says(self, how: int) -> bool:
        return self._do(self.agent.say(self._new_text(SENTENCES[how % 2])))

    def _interrupts(self, _: int) -> bool:
        return self._do(self.agent.interrupt())

    def _changes_speed(self, how: int) -> bool:
        return self._do(self.agent.set_speech_speed(0.5 + how / 128))

    def _changes_instructions(self, how: int) -> bool:
        return self._do(self.agent.update_instructions(f"Be number {how}."))

    def _requests_response(self, how: int) -> bool:
        self.agent.event_bus.publish(RequestResponseCommand(instructions=SENTENCES[how % 2]))
        return True

    def _restarts(self, how: int) -> bool:
        return how % 4 == 0 and self._do(self._restart())

    async def _restart(self) -> None:
        with suppress(RtvoiceError):  # it says why it failed; the conversation goes on
            await self.agent.restart()

    def _commits(self, _: int) -> bool:
        if self._detects_turns:
            return False
        return self._do(self.agent.commit_user_turn())

    def _stops(self, how: int) -> bool:
        if how % 32:
            return False
        self._stop_asked_at = self._stop_asked_at or self.loop.time()
        return self._do(self.agent.stop())

    def _tool_ends(self, how: int) -> bool:
        open_jobs = [job for job in self.jobs if not job.done()]
        if not open_jobs:
            return False
        job = open_jobs[how % len(open_jobs)]
        if how % 5 == 4:
            job.set_exception(RuntimeError("the tool failed"))
        elif how % 5 == 3:
            job.cancel()
        else:
            job.set_result("done")
        return True

    # --- acts: devices and time ---

    def _microphone(self, how: int) -> bool:
        self.mouth.put(bytes(960 * (1 + how % 6)))
        return True

    def _device_fails(self, how: int) -> bool:
        if how % 64:
            return False
        self._device_failed = True
        if how:
            self.mouth.put(RuntimeError("unplugged"))
        else:
            self.ear.failure = RuntimeError("unplugged")
        return True

    def _time_passes(self, how: int) -> bool:
        self._pause_s = _PAUSES_S[how % len(_PAUSES_S)]
        return True


def vars_of(item: Any) -> str:
    return f"{item.id} {item.type} {item.role} {item.text!r} {item.call_id}"


Act = Callable[[World, int], bool]
_WEIGHTS: dict[Act, int] = {
    World._user_starts: 8,
    World._user_stops: 12,
    World._service_answers: 8,
    World._transcribes: 10,
    World._produces: 50,
    World._refuses: 3,
    World._complains: 2,
    World._breaks: 8,
    World._expires: 2,
    World._holds: 4,
    World._releases: 8,
    World._sends_message: 6,
    World._says: 4,
    World._interrupts: 4,
    World._changes_speed: 3,
    World._changes_instructions: 2,
    World._requests_response: 3,
    World._restarts: 3,
    World._commits: 6,
    World._stops: 2,
    World._tool_ends: 14,
    World._microphone: 10,
    World._device_fails: 1,
    World._time_passes: 24,
}
_ACTS: list[Act] = [act for act, weight in _WEIGHTS.items() for _ in range(weight)]


async def play(plan: bytes) -> int:
    """Carry out a plan, in as many conversations as it takes; return how many steps took place."""
    steps = 0
    random.seed(len(plan))  # the product draws pauses at random
    while len(plan) > 1:
        detects_turns, plan = bool(plan[0] % 4), plan[1:]
        world = World(detects_turns=detects_turns)
        try:
            plan = await world.live(plan)
        except BaseException as error:
            broken = _first(error)
            broken.add_note("What happened:\n" + "\n".join(world.log))
            raise broken from None
        steps += world.steps
    return steps


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
