"""Counts the words of some texts: an ordinary Beam pipeline that knows nothing of the runner it runs on.

    texts ─read─► lines ─split─► words ─count─► (word, count) ─format─► "word: count" ─write─► files

Run it with Purlin, from the root of the repository:

    purlin run -- .env/bin/python examples/python/wordcount.py \
        --input 'examples/data/*.txt' --output /tmp/counts

or with any other runner: arguments that are not listed below go to Beam (`--runner`, `--job_endpoint`, ...).
"""

import argparse
import re

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

# Letters of any script, with apostrophes inside: "beam", "o'clock", "señal"; digits and dashes separate words.
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def words(line):
    """All words of a line, in lower case."""
    return WORD.findall(line.lower())


def formatted(word, count):
    """One line of the output."""
    return f"{word}: {count}"


def build(pipeline, source, destination):
    """Puts the steps into `pipeline`."""
    _ = (
        pipeline
        | "Read" >> beam.io.ReadFromText(source)
        | "Split" >> beam.FlatMap(words).with_output_types(str)
        | "Count" >> beam.combiners.Count.PerElement()
        | "Format" >> beam.MapTuple(formatted)
        | "Write" >> beam.io.WriteToText(destination)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="a file or a pattern, such as 'texts/*.txt'")
    parser.add_argument(
        "--output", required=True, help="where the counts go; Beam adds the number of the file: OUTPUT-00000-of-00001"
    )
    ours, beams = parser.parse_known_args()
    # Leaving the block runs the pipeline and waits for its end.
    with beam.Pipeline(options=PipelineOptions(beams)) as pipeline:
        build(pipeline, ours.input, ours.output)


if __name__ == "__main__":
    main()
