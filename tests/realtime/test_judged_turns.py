import json
from collections.abc import Callable

import pytest

from rtvoice.realtime.judged_turns import REMEMBERED, JudgedTurns
from rtvoice.realtime.memory import ConversationMemory
from rtvoice.realtime.outbox import Outbox
from rtvoice.realtime.responses import ResponseArbiter


class Bench:
    def __init__(self) -> None:
        self.outbox = Outbox()
        self.arbiter = ResponseArbiter(server_responds=True)
        self.memory = ConversationMemory()
        self.turns = JudgedTurns(self.outbox, self.arbiter, self.memory)

    def speak(self, item_id: str | None = "u1") -> None:
        self.arbiter.user_started()
        self.turns.began(item_id)

    def commit(self, item_id: str = "u1") -> None:
        self.arbiter.user_stopped(0.0)
        self.memory.expect_words(item_id)
        self.turns.completed(item_id)

    @property
    def deleted(self) -> list[str]:
        frames = [json.loads(frame) for frame in self.outbox.take()]
        return [frame["item_id"] for frame in frames if frame["type"] == "conversation.item.delete"]


Step = Callable[[Bench], None]


def accept(bench: Bench) -> None:
    bench.turns.accept("u1")


def forget(bench: Bench) -> None:
    bench.turns.dismiss("u1", forget=True)


def keep(bench: Bench) -> None:
    bench.turns.dismiss("u1", forget=False)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(("verdict", "answers"), [(accept, 1), (forget, 0), (keep, 0)])
def test_a_turn_needs_its_end_and_a_verdict(verdict: Step, answers: int, early: bool) -> None:
    bench = Bench()
    bench.speak()
    steps: list[Step] = [verdict, Bench.commit] if early else [Bench.commit, verdict]
    steps[0](bench)
    assert bench.arbiter.waiting == 0
    assert bench.arbiter.take() is None
    steps[1](bench)
    assert bench.arbiter.waiting == answers
    assert not bench.arbiter.awaits_own_response
    assert (bench.arbiter.take() is not None) == bool(answers)
    assert bench.deleted == (["u1"] if verdict is forget else [])
    assert bench.turns.is_forgotten("u1") == (verdict is forget)
    assert bench.memory.lost_user_turns == (0 if verdict is forget else 1)


def test_each_happens_once() -> None:
    bench = Bench()
    bench.speak()
    bench.commit()
    bench.commit()
    accept(bench)
    accept(bench)
    forget(bench)
    assert bench.arbiter.waiting == 1
    assert bench.deleted == []


def test_a_backchannel_may_turn_out_to_be_an_answer() -> None:
    bench = Bench()
    bench.speak()
    bench.commit()
    keep(bench)
    accept(bench)
    assert bench.arbiter.waiting == 1


def test_what_is_forgotten_stays_so() -> None:
    bench = Bench()
    bench.speak()
    bench.commit()
    forget(bench)
    accept(bench)
    assert bench.arbiter.waiting == 0


def test_a_server_that_names_the_item_late() -> None:
    bench = Bench()
    bench.speak(None)
    bench.turns.accept(None)
    bench.commit("u7")
    assert bench.arbiter.waiting == 1


def test_unknown_turns() -> None:
    bench = Bench()
    accept(bench)
    forget(bench)
    bench.turns.completed("u1")
    assert bench.arbiter.waiting == 0
    assert not bench.turns.is_forgotten("u1")


def test_a_new_session_settles_what_the_old_one_owes() -> None:
    bench = Bench()
    bench.speak()
    bench.turns.began("u2")
    bench.turns.dismiss("u2", forget=True)
    bench.turns.begin_anew()
    bench.commit()
    accept(bench)
    assert bench.arbiter.waiting == 0
    assert bench.turns.is_forgotten("u2")  # its words may still come


def test_the_oldest_are_forgotten() -> None:
    bench = Bench()
    for number in range(REMEMBERED + 1):
        bench.speak(f"u{number}")
    bench.commit("u0")
    bench.turns.accept("u0")
    assert bench.arbiter.waiting == 0


def test_forgetting_an_item_that_is_not_there() -> None:
    memory = ConversationMemory()
    revision = memory.revision
    memory.forget("u1")
    assert memory.revision == revision
