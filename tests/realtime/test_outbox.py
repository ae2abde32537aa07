from rtvoice.realtime.outbox import Outbox


def test_frames_come_out_once_in_order() -> None:
    outbox = Outbox()
    assert not outbox

    outbox.put(b"1")
    outbox.put(b"2")

    assert outbox
    assert outbox.take() == [b"1", b"2"]
    assert not outbox
    assert outbox.take() == []


def test_ids_name_their_purpose_and_never_repeat() -> None:
    outbox = Outbox()

    assert [outbox.new_id("a"), outbox.new_id("b"), outbox.new_id("a")] == ["a_1", "b_2", "a_3"]
