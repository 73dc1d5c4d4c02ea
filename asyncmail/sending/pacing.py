"""How fast messages may follow each other, whatever number of connections they go over."""

from __future__ import annotations

from ..errors import InputError

__all__ = ["Pace"]


class Pace:
    """A token bucket, kept as the time from which on the next message may begin.

    Args:
        per_second: messages per second; None for no such limit.
        per_minute: messages per minute; None for no such limit. The tighter of both holds.
        burst: messages that may begin at once after a pause.

    Raises:
        InputError: a rate is not above 0, or `burst` is less than 1.
    """

    __slots__ = ("_next", "_tolerance", "interval")

    def __init__(
        self, *, per_second: float | None = None, per_minute: float | None = None, burst: int = 1
    ) -> None:
        intervals = [0.0]
        for name, rate, seconds in (("second", per_second, 1.0), ("minute", per_minute, 60.0)):
            if rate is not None:
                if not rate > 0:
                    raise InputError(f"{rate} messages per {name}", cure="use a number above 0")
                intervals.append(seconds / rate)
        if burst < 1:
            raise InputError(f"a burst of {burst} messages", cure="use a number of at least 1")
        self.interval: float = max(intervals)
        """Seconds from one message to the next in the long run; 0 where there is no limit."""
        self._tolerance = self.interval * (burst - 1)
        self._next = 0.0

    def __repr__(self) -> str:
        rate = f"{1 / self.interval:g} messages per second" if self.interval else "unlimited"
        return f"<Pace {rate}>"

    def delay(self, time: float) -> float:
        """Return the seconds from `time` until a message may begin; 0 if one may now."""
        delay = self._next - self._tolerance - time
        if (
            delay > 2 * self.interval
        ):  # longer than any that there is: `time` is of the clock of another event loop
            self._next = time
            return 0.0
        return max(delay, 0.0)

    def take(self, time: float) -> bool:
        """Count a message that begins at `time`, if one may."""
        if self._next - self._tolerance > time and self.delay(time) > 0:
            return False
        self._next = max(self._next, time) + self.interval
        return True
