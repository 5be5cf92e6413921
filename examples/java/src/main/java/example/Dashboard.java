package example;

import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.coders.KvCoder;
import org.apache.beam.sdk.coders.StringUtf8Coder;
import org.apache.beam.sdk.coders.VarIntCoder;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.testing.TestStream;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Sum;
import org.apache.beam.sdk.transforms.windowing.AfterPane;
import org.apache.beam.sdk.transforms.windowing.AfterWatermark;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.IntervalWindow;
import org.apache.beam.sdk.transforms.windowing.PaneInfo;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.TimestampedValue;
import org.joda.time.Duration;
import org.joda.time.Instant;

/**
 * Scores of two teams, a window a minute: estimates early, the result on time, corrections when scores come late.
 *
 * <p>The stream is a TestStream, so that each run prints the same. The same pipeline stands in
 * examples/python/dashboard.py and in examples/go/dashboard; docs/guide/late-data.md explains the lines.
 */
public final class Dashboard {
  private Dashboard() {}

  private static TimestampedValue<KV<String, Integer>> score(long second, String team, int points) {
    return TimestampedValue.of(KV.of(team, points), at(second));
  }

  private static Instant at(long second) {
    return Instant.ofEpochSecond(second);
  }

  /** What happens, in order: scores with the second in which they were made, and how far the stream is. */
  private static TestStream<KV<String, Integer>> scores() {
    return TestStream.create(KvCoder.of(StringUtf8Coder.of(), VarIntCoder.of()))
        .addElements(score(10, "blue", 3))
        .addElements(score(20, "red", 5))
        .addElements(score(40, "blue", 4))
        // The first minute is over, as far as anybody knows.
        .advanceWatermarkTo(at(60))
        .addElements(score(70, "red", 1))
        // Late: a correction.
        .addElements(score(50, "blue", 2))
        // Five minutes later corrections are not wanted any more.
        .advanceWatermarkTo(at(400))
        // Too late: dropped, and counted.
        .addElements(score(30, "red", 9))
        .advanceWatermarkToInfinity();
  }

  /** Prints each pane. */
  static final class Show extends DoFn<KV<String, Integer>, Void> {
    @ProcessElement
    public void process(@Element KV<String, Integer> score, BoundedWindow window, PaneInfo pane) {
      IntervalWindow within = (IntervalWindow) window;
      System.out.printf(
          "%ds-%ds %s %d %s pane %d%n",
          within.start().getMillis() / 1000,
          within.end().getMillis() / 1000,
          score.getKey(),
          score.getValue(),
          pane.getTiming(),
          pane.getIndex());
    }
  }

  public static void main(String[] args) {
    PipelineOptions options = PipelineOptionsFactory.fromArgs(args).create();
    Pipeline pipeline = Pipeline.create(options);
    pipeline
        .apply("Scores", scores())
        .apply(
            "Minutes",
            Window.<KV<String, Integer>>into(FixedWindows.of(Duration.standardMinutes(1)))
                .triggering(
                    AfterWatermark.pastEndOfWindow()
                        .withEarlyFirings(AfterPane.elementCountAtLeast(1))
                        .withLateFirings(AfterPane.elementCountAtLeast(1)))
                .accumulatingFiredPanes()
                .withAllowedLateness(Duration.standardMinutes(5)))
        .apply("Sum", Sum.integersPerKey())
        .apply("Show", ParDo.of(new Show()));
    pipeline.run().waitUntilFinish();
  }
}
