"""Everything that can go wrong with the connection, and what comes of it: the matrix and the table are made of this."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from tests.faults.scene import Scene

from rtvoice.testing import (
    ClockSkew,
    Delays,
    Duplicate,
    Faults,
    Malform,
    RealtimeEmulator,
    RefusingProxy,
    StartRefusal,
    Swap,
    WrongTypes,
    name_lookup_fails,
)
from rtvoice.testing.faults import BAD_KEY, BETA_HEADER, NO_QUOTA, model_not_found

Strike: TypeAlias = Callable[[Scene], Awaitable[None] | None]
"""Lets something go wrong in a scene, now."""


class Outcome(Enum):
    """What comes of a fault: what the user hears, what the program sees, what is kept."""

    GOES_ON = "goes on"
    RECONNECTS = "reconnects"
    ENDS = "ends"
    ENDS_QUIETLY = "ends quietly"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        what: What happens, for people.
        strike: Lets it happen.
        outcome: What comes of it.
        hears: What the user hears, if that is not what the outcome says.
        errors: Types of the errors that ``on_agent_error`` is told, and no others.
        watchdogs: Watchdogs that may fire, depending on what was going on.
        family: What it has in common with others that are dealt with in the same way: they are one row of the table,
            and only the first of them is tried at every moment by default.
        spoils: Whether frames arrive unreadable, so that what they carried may be missing.
        asks_again: Whether the user gets no answer, and has to ask again.
    """

    what: str
    strike: Strike
    outcome: Outcome
    hears: str = ""
    errors: frozenset[str] = field(default=frozenset())
    watchdogs: frozenset[str] = field(default=frozenset())
    family: str = ""
    spoils: bool = False
    asks_again: bool = False


SPOILED_S: Final = 2.0
"""How long frames are spoiled."""

# --- how things go wrong ---


def closes(code: int, reason: str = "") -> Strike:
    return lambda scene: scene.session.close(code, reason)


def sends(*events: Mapping[str, Any] | str) -> Strike:
    def strike(scene: Scene) -> None:
        for event in events:
            scene.session.send(event)

    return strike


def stalls(seconds: float | None, **directions: bool) -> Strike:
    def strike(scene: Scene) -> None:
        session = scene.session
        session.stall(**directions)
        if seconds is not None:
            scene.later(seconds, session.resume)

    return strike


def distorts(*faults: Any, seconds: float | None = None) -> Strike:
    def strike(scene: Scene) -> None:
        session = scene.session
        session.distort(*(make() for make in faults))
        if seconds is not None:
            scene.later(seconds, session.distort)

    return strike


def delays(**how: float) -> Strike:
    return lambda scene: scene.session.delay(Delays(**how))  # type: ignore[arg-type]


def refuses(refusal: StartRefusal, *, times: int = 2) -> Strike:
    """The connection is lost, and the next attempts to restore it are refused."""

    def strike(scene: Scene) -> None:
        scene.server.refuse(refusal, times=times)
        scene.session.drop()

    return strike


def dribbles(scene: Scene) -> None:
    session = scene.session
    session.dribble()
    scene.later(1.0, lambda: session.dribble(None))


def storms(scene: Scene) -> None:
    for number in range(500):
        scene.session.send_error("server_error", f"The server had an error ({number}).", error_type="server_error")


def floods(scene: Scene) -> None:
    scene.session.send({"type": "emulator.padding", "padding": "x" * (16 * 1024 * 1024)})


def complains_at_length(scene: Scene) -> None:
    scene.session.send_error("server_error", "x" * (16 * 1024 * 1024), error_type="server_error")


def refuses_updates(scene: Scene) -> None:
    error = {"type": "invalid_request_error", "code": "invalid_value", "message": "Not now."}

    async def change_settings() -> None:
        scene.session.refuse_updates(error)
        await scene.agent.update_instructions("Be brief.")

    scene.later(0.1, change_settings)  # not before a new session has got its settings


def refuses_new_settings(scene: Scene) -> None:
    error = {"type": "invalid_request_error", "code": "invalid_value", "message": "No such voice.", "param": "voice"}
    scene.server.faults = Faults(refuse_session_updates=error)
    scene.session.drop()


def limits_rate(scene: Scene) -> None:
    error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Rate limit reached."}
    limits = [{"name": "tokens", "limit": 40_000, "remaining": 0, "reset_seconds": 1.5}]
    scene.session.send({"type": "rate_limits.updated", "event_id": "event_x", "rate_limits": limits})
    scene.session.send_error("rate_limit_exceeded", error["message"], error_type="rate_limit_error")


RATE_LIMIT: Final = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Rate limit reached."}
SERVER_ERROR: Final = {"type": "server_error", "code": None, "message": "The server had an error."}
FILTERED: Final = {"type": "invalid_request_error", "code": "content_policy_violation", "message": "Not this."}


def fails(error: Mapping[str, Any], *, times: int) -> Strike:
    return lambda scene: scene.session.fail_responses(error, times=times)


async def goes_down(scene: Scene) -> None:
    await scene.server.stop_listening()
    scene.session.drop()
    scene.later(4.0, scene.server.listen)


async def goes_down_for_good(scene: Scene) -> None:
    await scene.server.stop_listening()
    scene.session.drop()


def loses_names(scene: Scene) -> None:
    scene.stack.enter_context(name_lookup_fails())
    leads_elsewhere(scene, "ws://realtime.invalid/v1/realtime?model=m")


async def meets_a_stranger(scene: Scene) -> None:
    stranger = await scene.stack.enter_async_context(RealtimeEmulator(tls=scene.make_tls()))
    leads_elsewhere(scene, stranger.provider.build_url("gpt-realtime-2.1"))


def leads_elsewhere(scene: Scene, url: str) -> None:
    scene.provider.elsewhere = url
    scene.session.drop()

    def lead_back() -> None:
        scene.provider.elsewhere = None

    scene.later(2.0, lead_back)


async def meets_a_proxy(scene: Scene) -> None:
    proxy = await scene.stack.enter_async_context(RefusingProxy())
    scene.environment.setenv("ws_proxy", proxy.url)
    scene.session.drop()
    scene.later(2.0, lambda: scene.environment.delenv("ws_proxy"))


LOST: Final = "connection_closed"
STANDSTILL: Final = frozenset({"answer", "ping", "response"})
"""The watchdogs that notice a connection on which nothing moves; which of them depends on what was going on."""
LATE: Final = "silence for up to 40 s, then as with a loss that was noticed at once"
PASSING_CLOSES: Final = {
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1007: "invalid data",
    1008: "policy violation",
    1009: "message too big",
    1010: "missing extension",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
}
FINAL_CLOSES: Final = {
    1013: ("insufficient_quota.insufficient_quota", "no credit left"),
    3000: ("invalid_request_error.invalid_api_key", "bad key"),
    4000: ("invalid_request_error.beta_api_shape_disabled", "retired interface"),
    4004: ("invalid_request_error.model_not_found", "no such model"),
    4500: ("", "a code of somebody's own"),
}
PASSING_STATUS: Final = {429: "too many requests", 500: "internal error", 502: "bad gateway", 503: "unavailable"}
FINAL_STATUS: Final = {400: "bad request", 401: "bad credentials", 403: "no access", 404: "not found"}
FINAL_REFUSALS: Final = {
    "bad key": BAD_KEY,
    "no credit": NO_QUOTA,
    "retired interface": BETA_HEADER,
    "no such model": model_not_found("gpt-realtime-2.1-mini"),
}

FAULTS: Final[Mapping[str, Fault]] = {
    # --- the connection ends ---
    "close 1000": Fault(
        what="The server ends the session in the normal way", strike=closes(1000), outcome=Outcome.ENDS_QUIETLY
    ),
    **{
        f"close {code}": Fault(
            family="The server closes the connection with a code that may pass",
            what=f"{code} {reason}",
            strike=closes(code, reason),
            outcome=Outcome.RECONNECTS,
        )
        for code, reason in PASSING_CLOSES.items()
    },
    **{
        f"close {code} {what}": Fault(
            family="The server closes the connection with a code that says why it will not pass",
            what=f"{code} {what}",
            strike=closes(code, reason),
            outcome=Outcome.ENDS,
            errors=frozenset({LOST}),
        )
        for code, (reason, what) in FINAL_CLOSES.items()
    },
    "session expired": Fault(
        what="The session reaches its maximum duration: `session_expired`, then 1001",
        strike=lambda scene: scene.session.expire(),
        outcome=Outcome.RECONNECTS,
    ),
    "dropped": Fault(
        what="The TCP connection ends without a close frame (1006)",
        strike=lambda scene: scene.session.drop(),
        outcome=Outcome.RECONNECTS,
    ),
    "reset": Fault(
        what="The TCP connection is reset (RST)",
        strike=lambda scene: scene.session.reset(),
        outcome=Outcome.RECONNECTS,
    ),
    # --- it stays, and nothing comes through ---
    "partition": Fault(
        what="The network lets nothing through any more, and says nothing",
        strike=lambda scene: scene.session.go_silent(),
        outcome=Outcome.RECONNECTS,
        watchdogs=STANDSTILL,
        hears=LATE,
    ),
    "stalled reader": Fault(
        what="The server reads nothing any more",
        strike=stalls(None, writing=False),
        outcome=Outcome.RECONNECTS,
        watchdogs=STANDSTILL,
        hears=LATE,
    ),
    "stalled writer": Fault(
        what="The server says nothing any more, except that it answers pings",
        strike=stalls(None, reading=False),
        outcome=Outcome.RECONNECTS,
        watchdogs=STANDSTILL,
        hears=LATE,
    ),
    "stalled for 6 s": Fault(
        what="The server neither reads nor writes for 6 s",
        strike=stalls(6.0),
        outcome=Outcome.GOES_ON,
        hears="nothing for 6 s, then the rest",
    ),
    "mute for 6 s": Fault(
        what="The server writes nothing for 6 s",
        strike=stalls(6.0, reading=False),
        outcome=Outcome.GOES_ON,
        hears="nothing for 6 s, then the rest",
    ),
    "deaf for 6 s": Fault(
        what="The server reads nothing for 6 s",
        strike=stalls(6.0, writing=False),
        outcome=Outcome.GOES_ON,
        hears="answers to what was said meanwhile 6 s late",
    ),
    # --- it is slow ---
    "byte by byte": Fault(
        what="For a second the server's bytes come one by one",
        strike=dribbles,
        outcome=Outcome.GOES_ON,
    ),
    "jitter": Fault(
        what="Every event is up to 300 ms late", strike=delays(jitter_ms=300), outcome=Outcome.GOES_ON
    ),
    "bursts": Fault(
        what="Events come in bursts, one a second",
        strike=delays(burst_ms=1_000),
        outcome=Outcome.GOES_ON,
        hears="the answer up to a second late",
    ),
    "slow line": Fault(
        what="Sound comes at two thirds of the speed it is played",
        strike=delays(bytes_per_second=44_000),
        outcome=Outcome.GOES_ON,
        hears="the answer with gaps",
    ),
    # --- frames are wrong ---
    "malformed frames": Fault(
        what="Frames that are no JSON, and none at all", strike=sends("{not json", "", "[]", "null"),
        outcome=Outcome.GOES_ON,
    ),
    "unknown events": Fault(
        what="Events of unknown types",
        strike=sends({"type": "response.no_such_thing", "response_id": 1}, {"type": ""}, '{"no": "type"}'),
        outcome=Outcome.GOES_ON,
    ),
    "16 MB event": Fault(what="An event of 16 MB", strike=floods, outcome=Outcome.GOES_ON),
    "16 MB error": Fault(
        what="An error of 16 MB", strike=complains_at_length, outcome=Outcome.GOES_ON,
        errors=frozenset({"server_error"}),
    ),
    "duplicates": Fault(
        what="Half of the events come twice", strike=distorts(lambda: Duplicate(0.5)), outcome=Outcome.GOES_ON
    ),
    "wrong order": Fault(
        what="Every third event comes after the next", strike=distorts(lambda: Swap(0.3)), outcome=Outcome.GOES_ON,
        watchdogs=frozenset({"response"}),
        hears="the answer, up to 30 s late where its last event is held back",
    ),
    "cut frames": Fault(
        what="For 2 s a fifth of the frames are cut in half",
        strike=distorts(lambda: Malform(0.2), seconds=SPOILED_S),
        outcome=Outcome.GOES_ON,
        hears="answers with gaps, or late",
        spoils=True,
    ),
    "wrong types": Fault(
        what="For 2 s half of the events have a value of the wrong type",
        strike=distorts(lambda: WrongTypes(0.5), seconds=SPOILED_S),
        outcome=Outcome.GOES_ON,
        hears="answers with gaps, or late",
        spoils=True,
    ),
    "fast clock": Fault(
        what="The server's clocks are fast: audio by a fifth, the date by two hours",
        strike=distorts(lambda: ClockSkew(1.2, ahead_s=7_200)),
        outcome=Outcome.GOES_ON,
    ),
    "slow clock": Fault(
        what="The server's clocks are slow: audio by a fifth, the date by two hours",
        strike=distorts(lambda: ClockSkew(0.8, ahead_s=-7_200)),
        outcome=Outcome.GOES_ON,
    ),
    # --- the server complains ---
    "error storm": Fault(
        what="500 errors in a row", strike=storms, outcome=Outcome.GOES_ON, errors=frozenset({"server_error"})
    ),
    "rate limit": Fault(
        what="The rate limit is reached", strike=limits_rate, outcome=Outcome.GOES_ON,
        errors=frozenset({"rate_limit_error"}),
    ),
    "failed response": Fault(
        what="The next response fails: the rate limit is exceeded", strike=fails(RATE_LIMIT, times=1),
        outcome=Outcome.GOES_ON, hears="the answer a second late, or when the server said",
    ),
    "three failed responses": Fault(
        what="Three responses in a row fail: the rate limit is exceeded", strike=fails(RATE_LIMIT, times=3),
        outcome=Outcome.GOES_ON, errors=frozenset({"rate_limit_error"}), asks_again=True,
        hears="no answer, until the user asks again",
    ),
    "server error": Fault(
        what="The next response fails: the server had an error", strike=fails(SERVER_ERROR, times=1),
        outcome=Outcome.GOES_ON,
    ),
    "two server errors": Fault(
        what="Two responses in a row fail: the server had an error", strike=fails(SERVER_ERROR, times=2),
        outcome=Outcome.GOES_ON, errors=frozenset({"server_error"}), asks_again=True,
        hears="no answer, until the user asks again",
    ),
    "hopeless response": Fault(
        what="The next response fails for a reason that will not pass", strike=fails(FILTERED, times=1),
        outcome=Outcome.GOES_ON, errors=frozenset({"invalid_request_error"}), asks_again=True,
        hears="no answer, until the user asks again",
    ),
    "refused update": Fault(
        what="A change of settings is refused", strike=refuses_updates, outcome=Outcome.GOES_ON,
        errors=frozenset({"invalid_request_error"}),
    ),
    "refused settings": Fault(
        what="The connection is lost, and the new session refuses its settings", strike=refuses_new_settings,
        outcome=Outcome.ENDS, errors=frozenset({LOST}),
    ),
    # --- the connection is lost, and cannot be restored at once ---
    **{
        f"HTTP {status}": Fault(
            family="The connection is lost, and the next two attempts get an HTTP status that may pass",
            what=f"{status} {what}",
            strike=refuses(StartRefusal(http_status=status)), outcome=Outcome.RECONNECTS,
        )
        for status, what in PASSING_STATUS.items()
    },
    **{
        f"HTTP {status}": Fault(
            family="The connection is lost, and the next attempt gets an HTTP status that will not pass",
            what=f"{status} {what}",
            strike=refuses(StartRefusal(http_status=status)), outcome=Outcome.ENDS, errors=frozenset({LOST}),
        )
        for status, what in FINAL_STATUS.items()
    },
    **{
        f"refused: {what}": Fault(
            family="The connection is lost, and the new session is refused",
            what=what,
            strike=refuses(refusal), outcome=Outcome.ENDS, errors=frozenset({LOST}),
        )
        for what, refusal in FINAL_REFUSALS.items()
    },
    "down for 4 s": Fault(
        what="The server is gone for 4 s", strike=goes_down, outcome=Outcome.RECONNECTS
    ),
    "down for good": Fault(
        what="The server is gone for good", strike=goes_down_for_good, outcome=Outcome.ENDS, errors=frozenset({LOST})
    ),
    "no names": Fault(
        what="The connection is lost, and host names cannot be looked up for 2 s", strike=loses_names,
        outcome=Outcome.RECONNECTS,
    ),
    "unknown certificate": Fault(
        what="The connection is lost, and for 2 s somebody else answers whose certificate nobody trusts",
        strike=meets_a_stranger, outcome=Outcome.RECONNECTS,
    ),
    "proxy refuses": Fault(
        what="The connection is lost, and a proxy lets nobody through for 2 s", strike=meets_a_proxy,
        outcome=Outcome.RECONNECTS,
    ),
}  # fmt: skip
