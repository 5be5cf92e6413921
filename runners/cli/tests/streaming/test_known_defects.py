"""What open defects of other runners get wrong, each named in its test by its issue at Beam (`apache/beam#…`)."""

import apache_beam as beam
import grpc
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, userstate, window
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.utils.timestamp import Duration, Timestamp

from sources import Count
from support import SEEN, gate, pipeline, script, service, show, shown, stamped, stop, typed

# The number of an element that is not part of the stream: its key is shown when it comes.
MARK = -1


def mark(events, text):
    """Shows a word when all that the events before can cause has happened."""
    return events.add_elements([window.TimestampedValue((text, MARK), 0)])


def play(test, events, of):
    """Runs a script; what `of` makes of its elements, and the marks, in the order in which they came."""
    with pipeline("--streaming", "--allow_unsafe_triggers") as p:
        pairs = p | events.advance_watermark_to_infinity()
        marks = pairs | "Marks" >> beam.Filter(lambda pair: pair[1] == MARK)
        marks | "Mark" >> beam.Map(lambda pair: show(test, pair[0]))
        rest = pairs | "Rest" >> beam.Filter(lambda pair: pair[1] != MARK) | typed()
        of(rest) | "Show" >> beam.Map(lambda what: show(test, what))
    return SEEN[test]


def groups(pairs):
    """Starts of windows and what is in them, in order."""
    def group(pair, of=beam.DoFn.WindowParam):
        return (float(of.start), sorted(pair[1]))
    return pairs | beam.GroupByKey() | beam.Map(group)


def sums(pairs):
    def total(pair, of=beam.DoFn.WindowParam):
        return (float(of.start), pair[1])
    return pairs | beam.CombinePerKey(sum) | "Window and sum" >> beam.Map(total)


def test_sliding_windows_fire_at_their_ends():
    """apache/beam#35384: sliding windows fire before the watermark has come to their ends."""
    events = script()
    for second in range(9):
        events = mark(stamped(events, second).advance_watermark_to(second + 1), f"at {second + 1}")
    seen = play("sliding", events, lambda pairs: groups(pairs | beam.WindowInto(window.SlidingWindows(5, 3))))
    assert seen == [
        "at 1", (-3.0, [0, 1]), "at 2", "at 3", "at 4", (0.0, [0, 1, 2, 3, 4]), "at 5", "at 6", "at 7",
        (3.0, [3, 4, 5, 6, 7]), "at 8", "at 9", (6.0, [6, 7, 8]),
    ]


def test_sliding_windows_over_a_source_fire_once_and_whole():
    """apache/beam#35384, with a source in place of a script."""
    p = pipeline("--streaming")
    slid = p | beam.Impulse() | beam.ParDo(Count()) | beam.WindowInto(window.SlidingWindows(5, 3))
    groups(slid) | beam.Map(lambda what: show("slid", what))
    result = p.run()
    assert sorted(shown("slid", 4))[:4] == [
        (-3.0, [0, 1]), (0.0, [0, 1, 2, 3, 4]), (3.0, [3, 4, 5, 6, 7]), (6.0, [6, 7, 8, 9, 10]),
    ]
    stop(result)


class Hasty(Count):
    """Never rests: only when it is asked to does it give anything out, and it ends when the gate of its test is open."""

    def __init__(self, test):
        self.test = test

    def read(self, tracker, estimator):
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            yield window.TimestampedValue(("k", at), Timestamp(at / 1000))
            estimator.set_watermark(Timestamp(at / 1000))
            at += 1
            # Python's workers do not hear that their job was cancelled. Faster than this, a round would hold more than a test needs.
            if at % 10 == 0 and gate(self.test).wait(timeout=0.001):
                return


def test_two_unbounded_sources_flow_together():
    """apache/beam#33815: two unbounded collections that are flattened stop."""
    p = pipeline("--streaming")
    both = [p | f"start {n}" >> beam.Impulse() | f"count {n}" >> beam.ParDo(Count()) for n in range(2)]
    sums(both | beam.Flatten() | beam.WindowInto(window.FixedWindows(5))) | beam.Map(lambda what: show("together", what))
    result = p.run()
    assert sorted(shown("together", 2))[:2] == [(0.0, 20), (5.0, 70)]
    stop(result)


def test_two_sources_that_never_rest_take_turns():
    """apache/beam#33815, with one worker, of which either source would take all."""
    p = pipeline("--streaming")
    both = [p | f"start {n}" >> beam.Impulse() | f"count {n}" >> beam.ParDo(Hasty("turns")) for n in range(2)]
    sums(both | beam.Flatten() | beam.WindowInto(window.FixedWindows(2))) | beam.Map(lambda what: show("turns", what))
    result = p.run()
    assert sorted(shown("turns", 2))[:2] == [(0.0, 2 * sum(range(2000))), (2.0, 2 * sum(range(2000, 4000)))]
    stop(result)
    gate("turns").set()


def test_a_source_that_never_rests_leaves_room_for_what_is_bounded():
    """apache/beam#33815, with a second collection that ends."""
    p = pipeline("--streaming")
    endless = p | "start" >> beam.Impulse() | beam.ParDo(Hasty("room"))
    few = p | beam.Create([1_000_000]) | beam.Map(lambda number: window.TimestampedValue(("k", number), 1))
    totals = sums([endless, few] | beam.Flatten() | beam.WindowInto(window.FixedWindows(2)))
    totals | beam.Map(lambda what: show("room", what))
    result = p.run()
    assert sorted(shown("room", 1))[0] == (0.0, 1_000_000 + sum(range(2000)))
    stop(result)
    gate("room").set()


def test_a_source_that_begins_years_from_now_does_not_stop_another():
    """apache/beam#33815, as it was found: the second source stands at an instant of its own, and gives nothing."""
    far = Timestamp(2**31)
    p = pipeline("--streaming")
    soon = p | "soon" >> beam.Impulse() | beam.ParDo(Count())
    never = p | PeriodicImpulse(start_timestamp=far, fire_interval=5) | beam.Map(lambda at: ("k", 0))
    both = [soon, never | beam.Map(lambda pair: pair)] | beam.Flatten() | beam.Reshuffle()
    sums(both | beam.WindowInto(window.FixedWindows(5))) | beam.Map(lambda what: show("years", what))
    result = p.run()
    assert sorted(shown("years", 2))[:2] == [(0.0, 10), (5.0, 35)]
    stop(result)


class Slow(Count):
    """Has nothing to say when it is asked first, and again, nor knows where event time is; then it counts."""

    def read(self, tracker, estimator):
        asked = tracker.current_restriction().start
        if tracker.try_claim(asked):
            if asked >= 3:
                yield window.TimestampedValue(("k", asked - 3), Timestamp(asked - 3))
                estimator.set_watermark(Timestamp(asked - 2))
            tracker.defer_remainder(Duration(seconds=0.01))


class Silent(Count):
    """Never has anything to say, but knows where event time is."""

    def read(self, tracker, estimator):
        at = tracker.current_restriction().start
        if tracker.try_claim(at):
            estimator.set_watermark(Timestamp(at))
            tracker.defer_remainder(Duration(seconds=0.01))


class Five(beam.DoFn):
    """Gives out five elements together; a timer ten seconds behind the first would find fewer."""

    KEPT = userstate.BagStateSpec("kept", VarIntCoder())
    LATE = userstate.TimerSpec("late", TimeDomain.WATERMARK)

    def process(self, pair, at=beam.DoFn.TimestampParam, kept=beam.DoFn.StateParam(KEPT),
                late=beam.DoFn.TimerParam(LATE)):
        kept.add(pair[1])
        numbers = sorted(kept.read())
        if len(numbers) == 1:
            late.set(at + 10)
        if len(numbers) == 5:
            late.clear()
            kept.clear()
            yield ("five", numbers)

    @userstate.on_timer(LATE)
    def too_late(self, at=beam.DoFn.TimestampParam, kept=beam.DoFn.StateParam(KEPT)):
        numbers = sorted(kept.read())
        kept.clear()
        yield ("timer", numbers, float(at))


@pytest.mark.parametrize("empty", [Slow, Silent])
def test_a_source_that_is_empty_at_first_lets_time_pass(empty):
    """apache/beam#39446: a source that starts empty holds the watermark for ever, and what keeps state never runs."""
    name = "empty " + empty.__name__
    p = pipeline("--streaming")
    numbers = [p | "other" >> beam.Impulse() | "count" >> beam.ParDo(Count()),
               p | "start" >> beam.Impulse() | "empty" >> beam.ParDo(empty())]
    if empty is Slow:
        numbers = numbers[1:]
    together = numbers | beam.Flatten()
    sums(together | beam.WindowInto(window.FixedWindows(5))) | "sums" >> beam.Map(lambda what: show(name, what))
    kept = together | typed() | beam.ParDo(Five())
    kept | "fives" >> beam.Map(lambda what: show(name + " state", what))
    result = p.run()
    assert sorted(shown(name, 2))[:2] == [(0.0, 10), (5.0, 35)]
    assert shown(name + " state", 1)[0] == ("five", [0, 1, 2, 3, 4])
    stop(result)


def sessions(gap, **more):
    return beam.WindowInto(window.Sessions(gap), **more)


def test_sessions_that_merge_keep_each_element_once():
    """apache/beam#32085: what is in sessions that merge comes twice."""
    events = stamped(script(), 1, 102)
    # 11 joins what 2 and 20 have begun, each in a bundle of its own; 101 comes behind both its neighbours.
    for number in [20, 100, 2, 11, 101]:
        events = stamped(events, number)
    with pipeline("--streaming") as p:
        grouped = groups(p | events.advance_watermark_to_infinity() | sessions(10))
        assert_that(
            grouped, equal_to([(1.0, [1, 2, 11, 20]), (100.0, [100, 101, 102])]))


def test_sessions_that_are_grouped_again_keep_each_element_once():
    """apache/beam#32085, of bounded input, with one grouping behind another."""
    with pipeline() as p:
        numbers = p | beam.Create([1, 2, 100, 101, 102]) | beam.Map(lambda n: window.TimestampedValue(("k", n), n))
        once = numbers | sessions(10) | "once" >> beam.GroupByKey()
        again = once | beam.FlatMapTuple(lambda key, values: [(key, value) for value in values])
        assert_that(
            groups(again), equal_to([(1.0, [1, 2]), (100.0, [100, 101, 102])]))


def test_early_panes_of_sessions_that_merge_hold_each_element_once():
    """apache/beam#32085, with panes that fire before their sessions merge."""
    events = script()
    for number in [1, 21, 11, 15]:
        events = stamped(events, number)
    early = trigger.AfterWatermark(early=trigger.AfterCount(1))
    seen = play("early sessions", events, lambda pairs: groups(pairs | sessions(
        11, trigger=early, accumulation_mode=trigger.AccumulationMode.DISCARDING)))
    assert sorted(number for _, numbers in seen for number in numbers) == [1, 11, 15, 21]
    # 11 has joined the other two: [1, 12), [11, 22) and [21, 32) overlap.
    assert seen[:4] == [(1.0, [1]), (21.0, [21]), (1.0, [11]), (1.0, [15])]


def test_sessions_that_touch_stay_apart():
    """Other runners merge sessions of which one ends where the next begins. Beam's do not overlap: ends are exclusive."""
    seen = play("touching", mark(stamped(script(), 0, 10), "came"), lambda pairs: groups(pairs | sessions(10)))
    assert seen[0] == "came" and sorted(seen[1:]) == [(0.0, [0]), (10.0, [10])]


def test_sessions_that_touch_merge_when_an_element_joins_them():
    """As above: 5 stands in a session that overlaps both."""
    seen = play("joined", stamped(stamped(script(), 0, 10), 5), lambda pairs: groups(pairs | sessions(10)))
    assert seen == [(0.0, [0, 5, 10])]


def test_event_timers_do_not_fire_before_the_watermark_has_passed_them():
    """apache/beam#35090: timers fire with the bundle that sets them."""
    events = script()
    for number in range(8):
        events = mark(stamped(events, number).advance_watermark_to(number + 1), f"at {number + 1}")
    events = mark(events.advance_watermark_to(15), "at 15")
    events = mark(events.advance_watermark_to(16), "at 16")
    seen = play("timers", events, lambda pairs: pairs | beam.ParDo(Five()))
    assert seen == [
        "at 1", "at 2", "at 3", "at 4", ("five", [0, 1, 2, 3, 4]), "at 5", "at 6", "at 7", "at 8",
        # Set for 5 + 10. Until the watermark has passed it, more may come at that very instant.
        "at 15", ("timer", [5, 6, 7], 15.0), "at 16",
    ]


def test_event_timers_that_are_cleared_in_time_never_fire():
    """apache/beam#35168: event timers fire at the end of a bundle, whatever the watermark."""
    p = pipeline("--streaming")
    fives = p | beam.Impulse() | beam.ParDo(Count()) | typed() | beam.ParDo(Five())
    fives | beam.Map(lambda what: show("fives", what))
    result = p.run()
    assert shown("fives", 4)[:4] == [("five", list(range(at, at + 5))) for at in [0, 5, 10, 15]]
    stop(result)


def count_of_two(pairs, fires, windows):
    return groups(pairs | beam.WindowInto(
        windows, trigger=fires, accumulation_mode=trigger.AccumulationMode.DISCARDING))


def test_a_count_fires_once():
    """A count of elements fires twice with other runners (apache/beam#33623 as we know it, PR 36142)."""
    events = mark(stamped(mark(stamped(script(), 1), "one"), 2), "two")
    events = mark(stamped(events, 3, 4), "four")
    seen = play("once", events, lambda pairs: count_of_two(pairs, trigger.AfterCount(2), window.GlobalWindows()))
    assert seen == ["one", (float(window.GlobalWindow().start), [1, 2]), "two", "four"]


def test_a_count_that_repeats_fires_once_for_each_of_its_elements():
    """The same at the end of a window: nothing is left that could fire."""
    events = script()
    for number in range(1, 5):
        events = mark(stamped(events, number), str(number))
    events = mark(events.advance_watermark_to(20), "over")
    twos = trigger.Repeatedly(trigger.AfterCount(2))
    seen = play("twos", events, lambda pairs: count_of_two(pairs, twos, window.FixedWindows(10)))
    assert seen == ["1", (0.0, [1, 2]), "2", "3", (0.0, [3, 4]), "4", "over"]


def test_no_stream_of_a_job_has_a_deadline():
    """apache/beam#35867: a Python job is over for its client when `--job_server_timeout` (300 s) has passed.

    Python asks for a job's states and messages by the id of what it has prepared, with that deadline on the whole stream;
    if it is refused it asks again for the job, without one.
    """
    p = pipeline("--streaming")
    p | beam.Impulse() | beam.ParDo(Count()) | beam.Map(lambda pair: show("deadline", pair))
    result = p.run()
    shown("deadline", 1)
    assert [it.time_remaining() for it in [result._state_stream, result._message_stream]] == [None, None]
    stop(result)


def test_what_is_prepared_is_not_yet_a_job():
    """apache/beam#35867: the refusal that Python needs, at once and not when its deadline has passed."""
    p = pipeline()
    p | beam.Impulse()
    prepared = service().Prepare(beam_job_api_pb2.PrepareJobRequest(job_name="job", pipeline=p.to_runner_api()))
    calls = [
        (service().GetStateStream, beam_job_api_pb2.GetJobStateRequest(job_id=prepared.preparation_id)),
        (service().GetMessageStream, beam_job_api_pb2.JobMessagesRequest(job_id=prepared.preparation_id)),
    ]
    for call, request in calls:
        with pytest.raises(grpc.RpcError) as refused:
            next(call(request, timeout=30))
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND


class Polling(Count):
    """As a reader of a message queue: waits for one message after the other, and never stops by itself."""

    def __init__(self, test):
        self.test = test

    def read(self, tracker, estimator):
        at = tracker.current_restriction().start
        while tracker.try_claim(at) and not gate(self.test).wait(timeout=0.005):
            yield window.TimestampedValue(("k", at), Timestamp(at))
            estimator.set_watermark(Timestamp(at + 1))
            at += 1


def test_a_source_that_never_rests_is_asked_to():
    """apache/beam#25114: an unbounded splittable DoFn never prints, since nobody asks it to check-point itself."""
    p = pipeline("--streaming")
    read = p | beam.Impulse() | beam.ParDo(Hasty("hasty")) | beam.Filter(lambda pair: pair[1] % 1000 == 0)
    read | beam.Map(lambda pair: show("hasty", pair[1]))
    result = p.run()
    assert shown("hasty", 3)[:3] == [0, 1000, 2000]
    stop(result)
    gate("hasty").set()


def test_windows_close_behind_a_source_that_polls():
    """apache/beam#22809: the grouping behind such a source never fires."""
    p = pipeline("--streaming")
    polled = p | beam.Impulse() | beam.ParDo(Polling("polling"))
    sums(polled | beam.WindowInto(window.FixedWindows(5))) | beam.Map(lambda what: show("polling", what))
    result = p.run()
    assert sorted(shown("polling", 2))[:2] == [(0.0, 10), (5.0, 35)]
    stop(result)
    gate("polling").set()
