"""Writes pipelines of many shapes, as Beam's Python SDK serializes them, into the folder that is named."""

import pathlib
import sys

import apache_beam as beam
from apache_beam.coders import StrUtf8Coder, VarIntCoder
from apache_beam.transforms import environments, trigger, userstate, window


class Counting(beam.DoFn):
    """State, and timers of both kinds."""

    SEEN = userstate.BagStateSpec('seen', StrUtf8Coder())
    SUM = userstate.CombiningValueStateSpec('sum', VarIntCoder(), sum)
    WHEN = userstate.TimerSpec('when', userstate.TimeDomain.WATERMARK)
    CLOCK = userstate.TimerSpec('clock', userstate.TimeDomain.REAL_TIME)

    def process(self, element, seen=beam.DoFn.StateParam(SEEN), total=beam.DoFn.StateParam(SUM),
                when=beam.DoFn.TimerParam(WHEN), clock=beam.DoFn.TimerParam(CLOCK)):
        yield element

    @userstate.on_timer(WHEN)
    def on_when(self):
        yield 'when'

    @userstate.on_timer(CLOCK)
    def on_clock(self):
        yield 'clock'


def words(root):
    lines = root | beam.Create(['a b', 'b c'])
    pairs = lines | beam.FlatMap(str.split) | beam.Map(lambda word: (word, 1))
    return pairs | beam.CombinePerKey(sum)


def windows(root):
    pairs = root | beam.Create([('k', 1)])
    fixed = pairs | beam.WindowInto(
        window.FixedWindows(10), trigger=trigger.AfterWatermark(early=trigger.AfterCount(2), late=trigger.AfterAny(
            trigger.AfterProcessingTime(5), trigger.AfterCount(1))),
        accumulation_mode=trigger.AccumulationMode.ACCUMULATING, allowed_lateness=60)
    fixed | 'group fixed' >> beam.GroupByKey()
    pairs | 'slide' >> beam.WindowInto(window.SlidingWindows(10, 5)) | 'group slid' >> beam.GroupByKey()
    pairs | 'sessions' >> beam.WindowInto(window.Sessions(10)) | 'group sessions' >> beam.GroupByKey()


def sides(root):
    main, side = root | beam.Create([1, 2]), root | 'side' >> beam.Create([('a', 1)])
    main | beam.Map(lambda x, d, l: x, beam.pvalue.AsDict(side), beam.pvalue.AsList(side))
    main | 'outputs' >> beam.FlatMap(lambda x: [beam.pvalue.TaggedOutput('odd', x)]).with_outputs('odd', main='even')


def state(root):
    root | beam.Create([('k', 'v')]) | beam.ParDo(Counting()) | beam.Reshuffle()


def rows(root):
    table = root | beam.Create([beam.Row(name='a', size=1, tags=['x'])])
    table | beam.GroupBy('name').aggregate_field('size', sum, 'total')
    (table, table) | beam.Flatten()


def joined(root):
    a, b = root | 'a' >> beam.Create([('k', 1)]), root | 'b' >> beam.Create([('k', 'v')])
    {'a': a, 'b': b} | beam.CoGroupByKey()


def main(folder):
    environment = environments.ExternalEnvironment('localhost:1', capabilities=environments.python_sdk_capabilities())
    for build in [words, windows, sides, state, rows, joined]:
        pipeline = beam.Pipeline()
        build(pipeline)
        proto = pipeline.to_runner_api(default_environment=environment)
        (pathlib.Path(folder) / build.__name__).write_bytes(proto.SerializeToString())


main(sys.argv[1])
