from rtvoice.audio.stall import PAUSE_S, STEADY_S, StallWatch


def deliver(watch: StallWatch, start: float, stop: float) -> float | None:
    deadline = None
    at = start
    while at <= stop:
        deadline = watch.delivered(at)
        at += 0.5
    return deadline


def test_a_steady_device_has_to_go_on() -> None:
    watch = StallWatch(5.0)
    assert watch.opened(100.0) is None
    assert deliver(watch, 100.5, 100 + STEADY_S - 0.5) is None
    assert watch.delivered(100 + STEADY_S) == 100 + STEADY_S + 5
    assert watch.delivered(200.0) == 205.0  # it came late; that is no reason to wait longer for the next
    assert watch.opened(300.0) == 305.0  # opened anew: it is known to be steady


def test_a_device_that_has_paused_may_pause() -> None:
    watch = StallWatch(5.0)
    watch.opened(0.0)
    assert watch.delivered(PAUSE_S + 0.1) is None
    assert deliver(watch, PAUSE_S + 0.2, 60) is None


def test_without_a_limit_nothing_is_expected() -> None:
    watch = StallWatch(None)
    watch.opened(0.0)
    assert deliver(watch, 0.5, 60) is None
