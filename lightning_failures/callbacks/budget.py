"""The clock and the account of a run's monitors: what they took so far, and what they may still take."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from lightning_failures.errors import InputError

__all__ = ["FIRST", "SHARE", "Budget", "Purpose"]

#: Share of the run's own time that all monitors together may take by default.
SHARE = 0.03

#: Seconds of a run that count from its first second on: what a minute allows, which is 1.8 s at 3%, may be taken at
#: once. After a minute nothing is allowed that the run's own time has not paid for.
FIRST = 60.0

#: A run that is expected to end within so many seconds tries something out, and is worth nothing without an answer: all
#: examinations together are allowed so many seconds of it, however short it is. Of either the processor's seconds count
#: where they are fewer, so that what such a run finds does not depend on how busy the machine is; but no fewer than an
#: eighth of the clock's.
SHORT, OF_SHORT, BUSIEST = 60.0, 10.0, 8.0

#: Shares of these seconds that may be taken at the beginning of such a run and before its end, so that late evaluations
#: and the last one are examined too.
EARLY, LATE = 0.4, 0.8

#: Seconds of examinations that tell how busy the machine is while they go on.
TELLING = 0.3

#: Shares of what is allowed: that of sums, that of sums and examinations together before the end of a run and at it, so
#: that the rest is there for pictures and the verdict, and that of pictures before the end.
OF_SUMS, OF_EXAMINATIONS, OF_LAST, OF_PICTURES = 0.4, 0.8, 0.9, 0.15

#: What time is spent on: ``"sums"`` are what is always on, statistics of what passes by, their logging and the rules.
Purpose = Literal["sums", "examination", "picture"]


class Budget:
    """Owns the clock and the account of all monitors that share it.

    Everything that a monitor does is measured, :meth:`spend`, and charged once. Before it does more than look at what
    passes by, it asks: whether an evaluation is watched at all, :meth:`watches`; how long an examination may take,
    :meth:`turn`; whether a picture is drawn, :meth:`allows_picture`. What takes longer than was expected is saved
    on later ones. So all monitors together take no more than ``share`` of the run's own time, which is all but theirs,
    in any run longer than a minute, from its first examination on.

    A run that is expected to end within a minute has ten seconds for examinations, as many for the sums of its
    evaluations, and for pictures at its end what a minute allows.

    Each examiner has its part of what the sums leave. At the end of a run, each also has its part of what others did
    not use.

    Args:
        share: extra time over the run's own, at least 0: 0.03 is three percent. With 0 nothing is examined, and every
            evaluation is watched. None: no limit.
        clock: gives seconds.
        processor: gives the seconds that the processor has worked for this process; None: this machine's, and with
            another clock than the machine's those of the clock.

    Raises:
        InputError: a share below 0.

    Example:
        >>> seconds = iter([0.0, 100.0, 101.0, 200.0])
        >>> budget = Budget(0.03, clock=lambda: next(seconds))
        >>> with budget.spend("causes", "examination"):
        ...     pass
        >>> round(budget.left, 2)  # 3% of 199 s, less one
        4.97
    """

    def __init__(
        self,
        share: float | None = SHARE,
        *,
        clock: Callable[[], float] = time.perf_counter,
        processor: Callable[[], float] | None = None,
    ) -> None:
        if share is not None and not share >= 0:
            raise InputError("Budget", "the share is negative", str(share), "Give a share of training time, as 0.03.")
        self.share = math.inf if share is None else share
        self.clock = clock
        self.processor = processor
        self._running: tuple[str, Purpose] | None = None
        self.restart()

    @classmethod
    def of(cls, given: "Budget | float | None") -> "Budget":
        """A budget that is given, or one of a share."""
        return given if isinstance(given, Budget) else cls(given)

    def restart(self) -> None:
        """Begin a run."""
        self._began = self._at = self.clock()
        self._worked = self._work(self._at)
        self._waited = 0.0  # seconds of the run so far in which the processor did other things
        self._seconds: dict[tuple[str, Purpose], float] = {}
        self._waits = 0.0  # likewise, of examinations
        self._examiners: dict[str, float] = {}  # parts of what is left that each has
        self._ended: set[str] = set()  # those whose last turn is over
        self._progress = math.nan  # share of the run that is done
        self._expected = math.inf  # seconds of its own that the run is expected to take
        self._watched: tuple[int, bool] | None = None  # the step that was last decided on, and how
        self._evaluation = 0.0  # seconds that the last watched evaluation took for sums
        self._before = self._once = 0.0  # seconds of sums before it, and before the first one

    # -- the account

    @contextmanager
    def spend(self, name: str, purpose: Purpose = "sums") -> Iterator[None]:
        """Charge the time inside; what is charged within it is charged there alone.

        Args:
            name: of the monitor.
            purpose: what the time is spent on.
        """
        self._settle()
        outer, self._running = self._running, (name, purpose)
        try:
            yield
        finally:
            self._settle()
            self._running = outer

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Charge nobody for the time inside, as for waiting until a device is done with the run's own work."""
        self._settle()
        outer, self._running = self._running, None
        try:
            yield
        finally:
            self._settle()
            self._running = outer

    def _settle(self) -> float:
        """Charge up to now; the time."""
        now = self.clock()
        before, self._worked = self._worked, self._work(now)
        waited = max(0.0, now - self._at - (self._worked - before))
        if self._running is None:
            self._waited += waited
        else:
            self._seconds[self._running] = self._seconds.get(self._running, 0.0) + now - self._at
            self._waits += waited if self._running[1] == "examination" else 0.0
        self._at = now
        return now

    def _work(self, now: float) -> float:
        """Seconds that the processor has worked by now."""
        if self.processor is not None:
            return self.processor()
        return time.process_time() if self.clock is time.perf_counter else now

    def seconds(self, name: str | None = None, purpose: Purpose | None = None) -> float:
        """What was charged so far.

        Args:
            name: of a monitor; None: all.
            purpose: what it was spent on; None: all.
        """
        self._settle()
        return sum(
            each for (whose, what), each in self._seconds.items() if name in (None, whose) and purpose in (None, what)
        )

    def by_monitor(self) -> dict[str, float]:
        """Seconds of each monitor, the most first."""
        self._settle()
        found: dict[str, float] = {}
        for (name, _), seconds in self._seconds.items():
            found[name] = found.get(name, 0.0) + seconds
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    # -- what is allowed

    @property
    def own(self) -> float:
        """Seconds of the run so far that were its own."""
        return self._settle() - self._began - sum(self._seconds.values())

    @property
    def limit(self) -> float:
        """Seconds that all monitors together may have taken by now."""
        allowed = self.share * max(FIRST, self.own) if self.share else 0.0
        return max(allowed, OF_SHORT) if self.short and self.share else allowed

    @property
    def left(self) -> float:
        """Those of :attr:`limit` that were not taken yet; below 0 where sums took more."""
        limit = self.limit
        return limit - sum(self._seconds.values())

    def expect(self, name: str, examines: bool = True, portion: float = 1.0) -> None:
        """Count a monitor among those that divide what is left, or no longer.

        Args:
            name: of the monitor.
            examines: whether it does.
            portion: how many parts it has where others have one.
        """
        if examines:
            self._examiners[name] = portion
        else:
            self._examiners.pop(name, None)

    def foresee(self, progress: float) -> None:
        """Take how much of the run is done, from 0 to 1; nan where nobody knows."""
        own, self._progress = self.own, progress
        self._expected = max(own - self._waited, own / BUSIEST) / progress if progress > 0 else math.inf

    @property
    def short(self) -> bool:
        """Whether the run is expected to end within a minute."""
        return self._expected < SHORT

    def watches(self, step: int, *, last: bool = False) -> bool:
        """Whether sums are made of an evaluation; one answer for all monitors of a step.

        Args:
            step: of training, at which it takes place.
            last: whether the run ends with it.
        """
        if self._watched is None or self._watched[0] != step:
            sums = self.seconds(purpose="sums")
            if self._watched is not None and self._watched[1]:
                self._evaluation = sums - self._before
            if self._watched is None:
                self._once = sums
            short = self.short and sums <= OF_SHORT * self._slower
            free = short or last or not self.share or self._watched is None
            # what is done once, before the first evaluation, must not keep others from being watched for long
            paced = sums - self._once + self._evaluation <= OF_SUMS * self.share * (self.own + FIRST / 2)
            yes = free or (paced and self.seconds() + self._evaluation <= OF_EXAMINATIONS * self.limit)
            self._watched, self._before = (step, yes), sums
        return self._watched[1]

    def turn(self, name: str, *, last: bool = False, least: float = 0.0) -> float:
        """Seconds that one examination may take now; may be below 0.

        Args:
            name: of the monitor.
            last: whether it is its last one of the run.
            least: seconds below which its last one finds nothing: where its part is less, it may have as much of those
                of others, so that a run of a minute has one answer rather than none.
        """
        if name not in self._examiners:
            self.expect(name)
        limit, spent = self.limit, self.seconds(purpose="examination")
        if math.isinf(limit):
            return math.inf
        mine, slower = self.seconds(name, "examination"), 1.0
        if self.short:  # beside the sums, and by the processor's seconds
            slower = self._slower
            mine, spent = mine / slower, spent / slower
            pool = limit * (1.0 if last else EARLY + (LATE - EARLY) * self._progress)
        else:
            pool = (OF_LAST if last else OF_EXAMINATIONS) * limit - (self.seconds() - spent)
        portion = self._examiners[name]
        mine = pool * portion / sum(self._examiners.values()) - mine
        if last:  # what others did not use, each its part of it
            to_come = portion + sum(each for who, each in self._examiners.items() if who not in {*self._ended, name})
            mine = max(mine, (pool - spent) * portion / to_come, least / slower)
        return slower * min(pool - spent, mine)

    @property
    def _slower(self) -> float:
        """How many times as long as the processor works for it an examination takes by the clock."""
        took, waited = self.seconds(purpose="examination"), self._waits
        if took < TELLING:
            took, waited = self.own, self._waited
        return min(BUSIEST, took / max(took - waited, 1e-9)) if took > 0 else 1.0

    def end(self, name: str) -> None:
        """The last turn of a monitor is over."""
        self._ended.add(name)

    def allows_picture(self, seconds: float, *, last: bool = False) -> bool:
        """Whether a picture may be drawn.

        Args:
            seconds: that it is expected to take.
            last: at the end of a run, which may use what is left.
        """
        drawn = self.seconds(purpose="picture") + seconds
        if self.short:  # beside the sums and the examinations, as these are beside each other
            return (last or math.isinf(self.share)) and drawn <= self.share * FIRST
        within = last or math.isinf(self.share) or drawn <= OF_PICTURES * self.share * self.own
        return within and seconds <= self.left

    @property
    def why(self) -> str:
        """Why something is not examined, in words.

        Example:
            >>> Budget(0.03).why
            'not yet examined: the budget of 3% of the first minute was spent'
        """
        own = self.own
        if self.short and self.share:
            return f"not yet examined: the {OF_SHORT:.3g} s that so short a run is allowed were spent"
        time = "the first minute" if own < FIRST else f"{own:,.0f} s"
        return f"not yet examined: the budget of {100 * self.share:.3g}% of {time} was spent"
