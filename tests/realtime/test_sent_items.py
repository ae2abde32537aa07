from rtvoice.realtime.sent_items import REMEMBERED, SentItems


def test_items_are_numbered_and_found_again_once() -> None:
    items = SentItems()

    assert [items.add("e1", "call_1"), items.add("e2"), items.add("e3", "call_2")] == [1, 2, 3]

    assert items.acknowledge("call_1") == 1
    assert items.acknowledge("call_1") == 0
    assert items.acknowledge() == 2
    assert items.acknowledge() == 0
    assert items.acknowledge("call_2") == 3
    assert items.acknowledge("call_unknown") == 0


def test_what_is_acknowledged_covers_all_that_was_sent_before() -> None:
    items = SentItems()
    items.add("e1")
    items.add("e2", "call_1")

    assert items.acknowledge("call_1") == 2
    assert items.acknowledge() == 0


def test_a_message_means_the_oldest() -> None:
    items = SentItems()
    items.add("e1")
    items.add("e2")

    assert [items.acknowledge(), items.acknowledge()] == [1, 2]


def test_a_refused_item_is_not_waited_for() -> None:
    items = SentItems()
    items.add("e1")
    items.add("e2")

    items.refuse("e1")
    items.refuse("e_unknown")

    assert items.acknowledge() == 2


def test_only_so_many_are_remembered() -> None:
    items = SentItems()
    for number in range(REMEMBERED + 10):
        items.add(f"e{number}", f"call_{number}")

    assert items.acknowledge("call_9") == 0
    assert items.acknowledge("call_10") == 11
