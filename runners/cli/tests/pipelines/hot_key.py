"""Half of all pairs have one key; they are counted by a grouping, and by a DoFn with state, and both counts are printed."""

import sys
import typing

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.combiners import CountCombineFn
from apache_beam.transforms.userstate import CombiningValueStateSpec

PARTS = 20
PER_PART = 500
Pair = typing.Tuple[str, int]


def pairs(part):
    for number in range(part * PER_PART, (part + 1) * PER_PART):
        yield ("hot\n" if number % 2 else f"key {number}"), number


class CountWithState(beam.DoFn):
    COUNT = CombiningValueStateSpec("count", VarIntCoder(), CountCombineFn())

    def process(self, pair, count=beam.DoFn.StateParam(COUNT)):
        count.add(1)
        if pair[0] == "hot\n" and count.read() == PARTS * PER_PART // 2:
            yield "state"


with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as pipeline:
    made = pipeline | beam.Create(range(PARTS)) | beam.FlatMap(pairs).with_output_types(Pair)
    large = made | beam.GroupByKey() | beam.Filter(lambda group: len(list(group[1])) == PARTS * PER_PART // 2)
    _ = large | "Group" >> beam.Map(lambda group: print("by grouping"))
    _ = made | "Count" >> beam.ParDo(CountWithState()) | "Print" >> beam.Map(lambda how: print("by", how))
