"""The budget is a promise: whatever a run does, its monitors take no more of its time than they were given."""

import math
import random
from itertools import pairwise

import pytest

from lightning_failures.callbacks.budget import FIRST, SHARE, Budget
from lightning_failures.errors import InputError

EXAMINERS = ("simplicity", "channels", "causes")


class Clock:
    """Goes on by what it is told, and not by itself."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def spend(budget, clock, seconds, name="causes", purpose="examination"):
    with budget.spend(name, purpose):
        clock.now += seconds


def run(seed, share, clock, *, own, evaluations, sums, training=0.0):
    """A run of random epochs, with monitors that take what they may take and what they cannot help."""
    draw, budget = random.Random(seed), Budget(share, clock=clock)
    examined = dict.fromkeys(EXAMINERS, 0)
    for number in range(evaluations):
        clock.now += own / evaluations * draw.uniform(0.5, 1.5)
        spend(budget, clock, training, purpose="sums")
        budget.foresee((number + 1) / evaluations)
        last = number + 1 == evaluations
        if not budget.watches(number, last=last):
            continue
        for name in EXAMINERS:
            budget.expect(name)
        for name in EXAMINERS:
            cost = draw.uniform(0.05, 3.0)
            if cost <= budget.turn(name) and draw.random() < 0.9:
                spend(budget, clock, cost, name)
                examined[name] += 1
        spend(budget, clock, sums, "collapse", "sums")
        if budget.allows_picture(0.3):
            spend(budget, clock, 0.3, "collapse", "picture")
        if own >= FIRST:
            yield budget, examined
    for name in EXAMINERS:
        cost = 0.9 * budget.turn(name, last=True)
        if cost > 0.05:
            spend(budget, clock, cost, name)
            examined[name] += 1
        budget.end(name)
    while budget.allows_picture(0.3, last=True):
        spend(budget, clock, 0.3, "collapse", "picture")
    yield budget, examined


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_run_does_its_monitors_keep_to_the_budget_from_the_first_second(seed, clock):
    draw = random.Random(1000 + seed)
    share, own = draw.choice([0.01, 0.03, 0.1]), draw.uniform(70, 2000)
    # sums of an evaluation, one of which may come at any time, beyond what the account knew
    sums = draw.uniform(0.0, 0.2) * share * FIRST
    for budget, _ in run(seed, share, clock, own=own, evaluations=draw.randint(2, 200), sums=sums):
        assert budget.seconds() <= share * max(FIRST, budget.own) + sums
    assert budget.seconds() <= share * budget.own


def test_of_a_long_run_every_examiner_has_its_turns_and_what_is_allowed_is_used(clock):
    *_, (budget, examined) = run(3, SHARE, clock, own=1200.0, evaluations=40, sums=0.05)
    assert min(examined.values()) >= 4
    assert budget.seconds("causes") > 0.1 * budget.limit
    assert 0.6 * budget.limit < budget.seconds() <= budget.limit


def test_evaluations_that_come_too_often_are_not_all_watched_but_the_last_one_is(clock):
    budget, seen = Budget(0.03, clock=clock), []
    for step in range(400):
        clock.now += 0.5
        budget.foresee((step + 1) / 400)
        if budget.watches(step, last=step == 399):
            spend(budget, clock, 0.1, purpose="sums")
            seen.append(step)
    assert seen[0] == 0
    assert seen[-1] == 399
    assert 15 <= len(seen) <= 40
    assert budget.seconds() <= 0.03 * budget.own
    assert max(later - sooner for sooner, later in pairwise(seen)) <= 20


def test_sums_that_take_long_are_not_made_at_all_evaluations_of_a_short_run_either(clock):
    budget, seen = Budget(0.03, clock=clock), []
    for step in range(20):
        clock.now += 0.5
        budget.foresee((step + 1) / 20)
        if budget.watches(step, last=step == 19):
            spend(budget, clock, 4.0, purpose="sums")
            seen.append(step)
    assert seen == [0, 1, 2, 19]


def test_one_answer_is_given_to_all_monitors_of_an_evaluation(clock):
    budget = Budget(0.03, clock=clock)
    assert budget.watches(10)
    spend(budget, clock, 5.0, purpose="sums")
    assert budget.watches(10)
    assert not budget.watches(20)
    assert not budget.watches(20)


def test_nothing_is_examined_beyond_the_first_minutes_share_before_the_run_has_paid_for_it(clock):
    budget = Budget(0.03, clock=clock)
    assert budget.turn("causes") == pytest.approx(0.8 * 1.8)
    spend(budget, clock, 1.44)
    assert budget.turn("causes") == pytest.approx(0, abs=1e-9)
    clock.now += 59.0
    assert budget.turn("causes") == pytest.approx(0, abs=1e-9)
    clock.now += 101.0  # 160 s of its own
    assert budget.turn("causes") == pytest.approx(0.8 * 0.03 * 160 - 1.44)


def test_what_takes_longer_than_expected_is_saved_on_later_examinations(clock):
    budget = Budget(0.03, clock=clock)
    spend(budget, clock, 9.0)
    clock.now += 300.0
    assert budget.turn("causes") < 0
    clock.now += 100.0
    assert budget.turn("causes") == pytest.approx(0.8 * 0.03 * 400 - 9.0)


def test_a_run_of_less_than_a_minute_has_ten_seconds_of_examinations_beside_its_sums(clock):
    budget = Budget(0.03, clock=clock)
    clock.now += 2.0
    budget.foresee(0.5)
    assert budget.short
    spend(budget, clock, 1.5, purpose="sums")
    assert budget.watches(5)
    assert budget.turn("causes") == pytest.approx(0.6 * 10.0)  # some of it is kept for later evaluations
    assert budget.turn("causes", last=True) == pytest.approx(10.0)
    budget.foresee(0.01)  # it takes long after all
    assert budget.turn("causes") < 0
    budget.foresee(math.nan)
    assert not budget.short


@pytest.mark.parametrize(("seconds", "short"), [(59.0, True), (61.0, False)])
def test_a_run_is_short_below_the_minute_from_which_the_share_is_promised(clock, seconds, short):
    budget = Budget(0.03, clock=clock)
    clock.now += seconds / 4
    budget.foresee(0.25)
    assert budget.short is short


def test_what_a_short_run_finds_does_not_depend_on_how_busy_the_machine_is(clock):
    def run(busy):
        worked = Clock()
        budget = Budget(0.03, clock=clock, processor=worked)

        def work(seconds):
            worked.now += seconds
            clock.now += busy * seconds

        work(4.0)
        budget.foresee(0.5)
        budget.expect("simplicity")
        with budget.spend("causes", "examination"):
            work(1.5)
        return budget.short, budget.turn("causes"), budget.turn("simplicity")

    assert run(busy=1.0) == pytest.approx((True, 1.5, 3.0), abs=1e-9)
    assert run(busy=8.0) == pytest.approx((True, 8 * 1.5, 8 * 3.0), abs=1e-9)  # of the clock's seconds
    short, _, of_another = run(busy=80.0)  # it hardly worked at all, so that it is not believed
    assert not short
    assert of_another < 0


def test_a_long_run_is_held_to_its_share_of_the_clocks_seconds(clock):
    budget = Budget(0.03, clock=clock, processor=lambda: 0.0)
    clock.now += 200.0
    budget.foresee(1.0)
    assert budget.own == 200.0
    spend(budget, clock, 7.0)
    assert budget.seconds() == 7.0
    budget = Budget(0.03, clock=clock, processor=lambda: clock.now)
    clock.now += 200.0
    budget.foresee(1.0)
    spend(budget, clock, 7.0)
    assert budget.turn("causes") < 0


def test_examiners_share_what_there_is_and_at_the_end_what_others_did_not_use(clock):
    budget = Budget(0.03, clock=clock)
    for name in EXAMINERS:
        budget.expect(name)
    pool = 0.8 * 1.8
    assert budget.turn("causes") == pytest.approx(pool / 3)
    spend(budget, clock, 0.2, "causes")
    assert budget.turn("simplicity") == pytest.approx(pool / 3)
    budget.expect("channels", examines=False)
    assert budget.turn("simplicity") == pytest.approx(pool / 2)
    budget.end("simplicity")
    assert budget.turn("causes", last=True) == pytest.approx(0.9 * 1.8 - 0.2)


def test_an_examiner_with_more_to_look_at_has_more_parts(clock):
    budget = Budget(0.03, clock=clock)
    budget.expect("simplicity", portion=2.0)
    budget.expect("channels")
    budget.expect("causes")
    pool = 0.8 * 1.8
    assert [budget.turn(name) for name in EXAMINERS] == pytest.approx([pool / 2, pool / 4, pool / 4])
    budget.end("causes")
    assert budget.turn("simplicity", last=True) == pytest.approx(0.9 * 1.8 * 2 / 3)


def test_at_the_end_one_examination_has_what_it_takes_rather_than_each_too_little(clock):
    budget = Budget(0.03, clock=clock)
    for name in EXAMINERS:
        budget.expect(name)
    spend(budget, clock, 1.0, purpose="sums")
    left = 0.9 * 1.8 - 1.0
    assert budget.turn("simplicity", last=True) == pytest.approx(left / 3)
    assert budget.turn("simplicity", last=True, least=0.5) == pytest.approx(0.5)
    assert budget.turn("simplicity", last=True, least=5.0) == pytest.approx(left)
    assert budget.turn("simplicity", least=0.5) < 0.2  # more of them are to come


def test_each_second_is_charged_once_to_whom_it_belongs(clock):
    budget = Budget(0.03, clock=clock)
    with budget.spend("causes"):
        clock.now += 1.0
        with budget.spend("causes", "examination"):
            clock.now += 10.0
            assert budget.seconds("causes", "examination") == 10.0
        with budget.spend("channels"):
            clock.now += 0.25
        with budget.pause():
            clock.now += 40.0
        clock.now += 0.5
    clock.now += 10.0
    assert budget.seconds("causes", "sums") == 1.5
    assert budget.by_monitor() == {"causes": 11.5, "channels": 0.25}
    assert budget.own == 50.0
    with pytest.raises(ZeroDivisionError), budget.spend("causes"):
        clock.now /= 0
    clock.now += 7.0  # what is outside is outside again
    assert budget.by_monitor()["causes"] == 11.5


def test_pictures_wait_for_their_share_of_the_runs_time_and_at_the_end_have_what_is_left(clock):
    budget = Budget(0.03, clock=clock)
    assert not budget.allows_picture(0.3)
    assert budget.allows_picture(0.3, last=True)
    clock.now += 70.0
    assert budget.allows_picture(0.3)
    spend(budget, clock, 0.3, purpose="picture")
    assert not budget.allows_picture(0.3)
    spend(budget, clock, 1.7)
    assert not budget.allows_picture(0.3, last=True)


def test_a_short_run_draws_at_its_end_whatever_its_examinations_took(clock):
    budget = Budget(0.03, clock=clock)
    clock.now += 4.0
    budget.foresee(1.0)
    spend(budget, clock, 10.0)
    spend(budget, clock, 2.0, purpose="sums")
    assert not budget.allows_picture(0.3)
    assert budget.allows_picture(0.3, last=True)
    spend(budget, clock, 1.7, purpose="picture")
    assert not budget.allows_picture(0.3, last=True)


def test_without_a_limit_all_is_allowed_and_with_a_share_of_nothing_nothing_but_sums(clock):
    free, nothing = Budget(None, clock=clock), Budget(0.0, clock=clock)
    spend(free, clock, 1e6)
    assert free.turn("causes") == free.turn("causes", last=True) == math.inf
    assert free.allows_picture(1e6)
    for step in range(3):
        assert free.watches(step)
        assert nothing.watches(step)
        spend(nothing, clock, 1.0, purpose="sums")
    clock.now += 1e6
    assert nothing.turn("causes") <= 0
    assert not nothing.allows_picture(0.01, last=True)


def test_a_new_run_begins_anew(clock):
    budget = Budget(0.03, clock=clock)
    spend(budget, clock, 9.0)
    budget.restart()
    assert (budget.seconds(), budget.own) == (0.0, 0.0)
    assert budget.watches(1)


def test_a_share_below_0_is_refused():
    with pytest.raises(InputError, match="the share is negative"):
        Budget(-0.1)
