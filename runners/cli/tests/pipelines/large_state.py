"""State of many keys that is larger than the memory of the server that runs it: a value that is replaced, a bag and a set that grow from
bundle to bundle. A timer at the end of each window reads all of it, and tells of each key and window whether it is what it must be."""

import hashlib
import sys
import typing
import uuid

import apache_beam as beam
from apache_beam.coders import BytesCoder, VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    SetStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import FixedWindows, TimestampedValue

KEYS = 200
# One element of each key in each second.
SECONDS = 12
WINDOW = 6
LENGTH = 16_000
Pair = typing.Tuple[str, bytes]


def payload(key, second):
    """Bytes that no compression makes fewer, which begin with their second."""
    return second.to_bytes(8, "big") + hashlib.shake_128(f"{key} {second}".encode()).digest(LENGTH)


def digest(value):
    return hashlib.sha256(value).digest()


def together(digests):
    """The same in whatever order they come."""
    return sum(int.from_bytes(each, "big") for each in digests) % (1 << 256)


def all_keys(second):
    for number in range(KEYS):
        key = f"key {number}"
        yield TimestampedValue((key, payload(key, second)), second)


class Sum:
    """What the value keeps: how many elements there were, in how many bundles, and the sum of their digests."""

    def __init__(self, stored):
        self.count, self.bundles, self.last_bundle, self.sum = 0, 0, b"", 0
        if stored:
            head, padding = stored[:64], stored[64:]
            assert padding == self.padding(head), f"the value of {len(stored)} bytes was altered"
            self.count, self.bundles = (int.from_bytes(head[at : at + 8], "big") for at in (0, 8))
            self.last_bundle, self.sum = head[16:32], int.from_bytes(head[32:], "big")

    @staticmethod
    def padding(head):
        return hashlib.shake_128(head).digest(LENGTH)

    def add(self, value, bundle):
        self.count += 1
        self.bundles += bundle != self.last_bundle
        self.last_bundle = bundle
        self.sum = (self.sum + together([digest(value)])) % (1 << 256)

    def stored(self):
        numbers = self.count.to_bytes(8, "big") + self.bundles.to_bytes(8, "big")
        head = numbers + self.last_bundle + self.sum.to_bytes(32, "big")
        return head + self.padding(head)


class Remember(beam.DoFn):
    SUM = ReadModifyWriteStateSpec("sum", BytesCoder())
    ALL = BagStateSpec("all", BytesCoder())
    DIGESTS = SetStateSpec("digests", BytesCoder())
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def start_bundle(self):
        self.bundle = uuid.uuid4().bytes

    def process(
        self,
        pair,
        window=beam.DoFn.WindowParam,
        sum=beam.DoFn.StateParam(SUM),
        all=beam.DoFn.StateParam(ALL),
        digests=beam.DoFn.StateParam(DIGESTS),
        end=beam.DoFn.TimerParam(END),
    ):
        _, value = pair
        so_far = Sum(sum.read())
        so_far.add(value, self.bundle)
        sum.write(so_far.stored())
        all.add(value)
        digests.add(digest(value))
        end.set(window.end)

    @on_timer(END)
    def ended(
        self,
        key=beam.DoFn.KeyParam,
        window=beam.DoFn.WindowParam,
        sum=beam.DoFn.StateParam(SUM),
        all=beam.DoFn.StateParam(ALL),
        digests=beam.DoFn.StateParam(DIGESTS),
    ):
        seconds = range(int(window.start), int(window.end))
        expected = [payload(key, second) for second in seconds]
        kept, so_far = list(all.read()), Sum(sum.read())
        wrong = []
        if sorted(kept) != expected:
            wrong.append(f"the bag has {[int.from_bytes(each[:8], 'big') for each in sorted(kept)]}")
        if sorted(digests.read()) != sorted(map(digest, expected)):
            wrong.append("the set differs")
        if (so_far.count, so_far.sum) != (len(seconds), together(map(digest, expected))):
            wrong.append(f"the value has {so_far.count} elements")
        if so_far.bundles != len(seconds):
            wrong.append(f"all of it was written by {so_far.bundles} bundles")
        yield f"{key} at {window.start}: {', '.join(wrong) or 'right'}"


with beam.Pipeline(options=PipelineOptions(sys.argv[1:], streaming=True)) as pipeline:
    # Each event comes when all is done that the one before has led to, so that each second is bundles of its own.
    script = TestStream(coder=VarIntCoder())
    for second in range(SECONDS):
        script.add_elements([TimestampedValue(second, second)]).advance_watermark_to(second + 1)
    seconds = pipeline | script.advance_watermark_to_infinity()
    pairs = seconds | beam.FlatMap(all_keys).with_output_types(Pair) | "In time" >> beam.WindowInto(FixedWindows(WINDOW))
    told = pairs | "Remember" >> beam.ParDo(Remember())
    _ = told | "Print" >> beam.Map(lambda line: print(line, flush=True))
