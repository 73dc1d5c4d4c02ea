from __future__ import annotations

from asyncmail.net.url import ServerURL
from asyncmail.retrieval.schedule import Schedule


def urls(host: str, count: int) -> list[ServerURL]:
    return [ServerURL(scheme="pop3", host=host, username=f"u{n}") for n in range(count)]


def take(schedule: Schedule) -> list[ServerURL]:
    taken: list[ServerURL] = []
    while (url := schedule.next()) is not None:
        taken.append(url)
    return taken


def test_hosts_in_turn_within_both_limits() -> None:
    schedule = Schedule([*urls("a", 5), *urls("b", 5), *urls("c", 1)], connections=6, connections_per_host=3)
    taken = take(schedule)
    assert [url.host for url in taken] == ["a", "b", "c", "a", "b", "a"]
    assert repr(schedule) == "<Schedule 5 waiting, 6 active, 0 slow>"
    schedule.opened(taken[0])
    assert schedule.ended(taken[0], has_answered=True) == []
    schedule.ended(taken[2], has_answered=True)
    assert [url.host for url in take(schedule)] == ["b", "a"]


def test_a_host_gets_no_more_than_its_limit() -> None:
    schedule = Schedule(urls("a", 5), connections=64, connections_per_host=2)
    first, second = take(schedule)
    schedule.ended(first, has_answered=True)
    (third,) = take(schedule)
    schedule.ended(second, has_answered=True)
    schedule.ended(third, has_answered=True)
    assert len(take(schedule)) == 2


def test_who_is_slow_to_open_lends_its_place() -> None:
    schedule = Schedule([*urls("dead", 4), *urls("b", 2)], connections=2, connections_per_host=1)
    dead, alive = take(schedule)
    schedule.opened(alive)
    schedule.is_slow(alive)
    assert take(schedule) == []
    schedule.is_slow(dead)
    # Its place is taken, but not by its own host.
    assert take(schedule) == []
    schedule.ended(alive, has_answered=True)
    assert [url.host for url in take(schedule)] == ["b"]
    # It opens after all: one session more than the limit.
    schedule.opened(dead)
    assert repr(schedule) == "<Schedule 3 waiting, 2 active, 0 slow>"
    schedule.ended(dead, has_answered=True)
    assert [url.host for url in take(schedule)] == ["dead"]


def test_who_stalls_later_lends_its_place_until_it_goes_on() -> None:
    schedule = Schedule([*urls("a", 1), *urls("b", 1), *urls("c", 1)], connections=1, connections_per_host=1)
    (first,) = take(schedule)
    schedule.opened(first)
    assert take(schedule) == []
    schedule.is_slow(first)
    (second,) = take(schedule)
    schedule.is_going_on(first)
    assert repr(schedule) == "<Schedule 1 waiting, 2 active, 0 slow>"
    schedule.ended(second, has_answered=True)
    assert take(schedule) == []
    schedule.ended(first, has_answered=True)
    schedule.is_slow(first)
    assert [url.host for url in take(schedule)] == ["c"]


def test_not_without_end() -> None:
    schedule = Schedule(
        [url for n in range(300) for url in urls(f"h{n}", 1)], connections=1, connections_per_host=1
    )
    for _ in range(256):
        (url,) = take(schedule)
        schedule.is_slow(url)
    (url,) = take(schedule)
    schedule.is_slow(url)
    assert take(schedule) == []


def test_a_host_to_which_no_connection_can_be_made_is_given_up() -> None:
    schedule = Schedule(urls("dead", 10), connections=64, connections_per_host=3)
    first, second, third = take(schedule)
    assert schedule.ended(first, has_answered=False) == []
    # One failure may be an accident: once more, but alone.
    assert take(schedule) == []
    assert schedule.ended(second, has_answered=False) == []
    given_up = schedule.ended(third, has_answered=False)
    assert len(given_up) == 7
    assert take(schedule) == []


def test_a_single_failure_is_followed_by_another_try() -> None:
    schedule = Schedule(urls("dead", 3), connections=64, connections_per_host=1)
    (first,) = take(schedule)
    assert schedule.ended(first, has_answered=False) == []
    (second,) = take(schedule)
    assert len(schedule.ended(second, has_answered=False)) == 1


def test_a_host_that_answered_once_is_not_given_up() -> None:
    schedule = Schedule(urls("a", 6), connections=64, connections_per_host=1)
    for has_answered in (True, False, False, True):
        (url,) = take(schedule)
        assert schedule.ended(url, has_answered=has_answered) == []
    assert len(take(schedule)) == 1
