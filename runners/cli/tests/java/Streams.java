import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.coders.KvCoder;
import org.apache.beam.sdk.coders.StringUtf8Coder;
import org.apache.beam.sdk.coders.VarIntCoder;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.schemas.Schema;
import org.apache.beam.sdk.state.BagState;
import org.apache.beam.sdk.state.CombiningState;
import org.apache.beam.sdk.state.StateSpec;
import org.apache.beam.sdk.state.StateSpecs;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.state.Timer;
import org.apache.beam.sdk.state.TimerSpec;
import org.apache.beam.sdk.state.TimerSpecs;
import org.apache.beam.sdk.state.ValueState;
import org.apache.beam.sdk.testing.TestStream;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.Filter;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Sum;
import org.apache.beam.sdk.transforms.Values;
import org.apache.beam.sdk.transforms.View;
import org.apache.beam.sdk.transforms.windowing.AfterPane;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.GlobalWindows;
import org.apache.beam.sdk.transforms.windowing.Repeatedly;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.PCollectionView;
import org.apache.beam.sdk.values.Row;
import org.apache.beam.sdk.values.TimestampedValue;
import org.apache.beam.sdk.values.TypeDescriptor;
import org.joda.time.Duration;
import org.joda.time.Instant;

/**
 * What streams ask of a runner in Java: each pipeline prints lines that begin with its name. They run at once, because Java's
 * client asks for the state of a job every three seconds only.
 */
public final class Streams {
  private Streams() {}

  private static Instant at(long second) {
    return Instant.ofEpochSecond(second);
  }

  private static TestStream.Builder<KV<String, Integer>> script() {
    return TestStream.create(KvCoder.of(StringUtf8Coder.of(), VarIntCoder.of()));
  }

  private static TimestampedValue<KV<String, Integer>> pair(long second, String key, int value) {
    return TimestampedValue.of(KV.of(key, value), at(second));
  }

  private static Window<KV<String, Integer>> tenSeconds(long lateness) {
    return Window.<KV<String, Integer>>into(FixedWindows.of(Duration.standardSeconds(10)))
        .withAllowedLateness(Duration.standardSeconds(lateness))
        .discardingFiredPanes();
  }

  /** Sums up, and tells the sum when the window has expired. */
  static final class Expiring extends DoFn<KV<String, Integer>, Void> {
    @StateId("sum")
    private final StateSpec<CombiningState<Integer, int[], Integer>> sum = StateSpecs.combining(Sum.ofIntegers());

    @ProcessElement
    public void process(@Element KV<String, Integer> pair, @StateId("sum") CombiningState<Integer, int[], Integer> sum) {
      sum.add(pair.getValue());
    }

    @OnWindowExpiration
    public void expire(
        @Key String key, BoundedWindow window, @StateId("sum") CombiningState<Integer, int[], Integer> sum) {
      System.out.printf("expiration: %s %d %d%n", key, window.maxTimestamp().getMillis(), sum.read());
    }
  }

  private static void expiration(Pipeline pipeline) {
    pipeline
        .apply(
            script()
                .addElements(pair(1, "a", 1), pair(2, "b", 5))
                .advanceWatermarkTo(at(12))
                // Late, and not too late.
                .addElements(pair(3, "a", 2))
                .advanceWatermarkTo(at(16))
                // Too late: the window has expired, and its state is gone.
                .addElements(pair(4, "a", 100), pair(17, "a", 7))
                .advanceWatermarkToInfinity())
        .apply(tenSeconds(5))
        .apply("Expiring", ParDo.of(new Expiring()));
  }

  /** Keeps what comes until a timer of event time fires. */
  static final class Buffering extends DoFn<KV<String, Integer>, Void> {
    @StateId("kept")
    private final StateSpec<BagState<Integer>> kept = StateSpecs.bag();

    @TimerId("event")
    private final TimerSpec event = TimerSpecs.timer(TimeDomain.EVENT_TIME);

    @TimerId("clock")
    private final TimerSpec clock = TimerSpecs.timer(TimeDomain.PROCESSING_TIME);

    @ProcessElement
    public void process(
        @Element KV<String, Integer> pair,
        @StateId("kept") BagState<Integer> kept,
        @TimerId("event") Timer event,
        @TimerId("clock") Timer clock) {
      kept.add(pair.getValue());
      event.set(at(8));
      clock.offset(Duration.standardSeconds(60)).setRelative();
    }

    @OnTimer("event")
    public void onEvent(@Timestamp Instant now, @StateId("kept") BagState<Integer> kept) {
      System.out.printf("timers: event %d %s%n", now.getMillis(), sorted(kept.read()));
    }

    @OnTimer("clock")
    public void onClock(@StateId("kept") BagState<Integer> kept) {
      System.out.printf("timers: clock %s%n", sorted(kept.read()));
      kept.clear();
    }
  }

  private static List<Integer> sorted(Iterable<Integer> numbers) {
    List<Integer> all = new ArrayList<>();
    numbers.forEach(all::add);
    all.sort(null);
    return all;
  }

  private static void timers(Pipeline pipeline) {
    pipeline
        .apply(
            script()
                .addElements(pair(1, "k", 1))
                .advanceWatermarkTo(at(7))
                .addElements(pair(7, "k", 2))
                .advanceWatermarkTo(at(9))
                .advanceProcessingTime(Duration.standardSeconds(59))
                .advanceProcessingTime(Duration.standardSeconds(5))
                .advanceWatermarkToInfinity())
        .apply("Buffering", ParDo.of(new Buffering()));
  }

  /** Wants its input in the order of time, and tells all that it has seen. */
  static final class Ordered extends DoFn<KV<String, Integer>, Void> {
    @StateId("seen")
    private final StateSpec<ValueState<String>> seen = StateSpecs.value(StringUtf8Coder.of());

    @RequiresTimeSortedInput
    @ProcessElement
    public void process(@Element KV<String, Integer> pair, @StateId("seen") ValueState<String> seen) {
      String before = seen.read();
      String now = (before == null ? "" : before + " ") + pair.getValue();
      seen.write(now);
      System.out.printf("sorted: %s%n", now);
    }
  }

  private static void sortedByTime(Pipeline pipeline) {
    pipeline
        .apply(
            script()
                .addElements(pair(3, "k", 3), pair(1, "k", 1))
                .advanceWatermarkTo(at(4))
                // Late, and no later than it may be.
                .addElements(pair(2, "k", 2))
                .advanceWatermarkTo(at(8))
                // 1 and 2 have gone; this is too late.
                .addElements(pair(1, "k", 100), pair(9, "k", 9))
                .advanceWatermarkToInfinity())
        .apply(tenSeconds(5))
        .apply("Ordered", ParDo.of(new Ordered()));
  }

  /** Wants its input as it will be in any retry. */
  static final class Stable extends DoFn<KV<String, Integer>, Void> {
    @RequiresStableInput
    @ProcessElement
    public void process(@Element KV<String, Integer> pair) {
      System.out.printf("stable: %d%n", pair.getValue());
    }
  }

  private static void stable(Pipeline pipeline) {
    pipeline
        .apply(script().addElements(pair(1, "k", 1)).addElements(pair(2, "k", 2)).advanceWatermarkToInfinity())
        .apply("Stable", ParDo.of(new Stable()));
  }

  /** Wants to hear when what it did is kept. */
  static final class Finalizing extends DoFn<KV<String, Integer>, Void> {
    @ProcessElement
    public void process(@Element KV<String, Integer> pair, BundleFinalizer finalizer) {
      int value = pair.getValue();
      System.out.printf("finalization: %d%n", value);
      finalizer.afterBundleCommit(
          Instant.now().plus(Duration.standardMinutes(5)), () -> System.out.printf("finalization: %d is kept%n", value));
    }
  }

  private static void finalization(Pipeline pipeline) {
    pipeline
        .apply(script().addElements(pair(1, "k", 1)).addElements(pair(2, "k", 2)).advanceWatermarkToInfinity())
        .apply("Finalizing", ParDo.of(new Finalizing()));
  }

  /** Tells what a side input is as each element comes. */
  static final class Reading extends DoFn<KV<String, Integer>, Void> {
    private final PCollectionView<Integer> rate;

    Reading(PCollectionView<Integer> rate) {
      this.rate = rate;
    }

    @ProcessElement
    public void process(ProcessContext context) {
      System.out.printf("refreshed: %d at rate %d%n", context.element().getValue(), context.sideInput(rate));
    }
  }

  private static PCollection<KV<String, Integer>> only(PCollection<KV<String, Integer>> pairs, String key) {
    return pairs.apply("Only " + key, Filter.by((KV<String, Integer> pair) -> pair.getKey().equals(key)));
  }

  private static void refreshed(Pipeline pipeline) {
    PCollection<KV<String, Integer>> pairs =
        pipeline.apply(
            script()
                .addElements(pair(1, "main", 1))
                .addElements(pair(1, "rate", 10))
                .addElements(pair(2, "main", 2))
                .addElements(pair(2, "rate", 20))
                .addElements(pair(3, "main", 3))
                .advanceWatermarkToInfinity());
    PCollectionView<Integer> rate =
        only(pairs, "rate")
            .apply(Values.create())
            .apply(
                Window.<Integer>into(new GlobalWindows())
                    .triggering(Repeatedly.forever(AfterPane.elementCountAtLeast(1)))
                    .discardingFiredPanes())
            .apply(View.asSingleton());
    only(pairs, "main").apply("Reading", ParDo.of(new Reading(rate)).withSideInputs(rate));
  }

  /** The first element waits for the second, which can come only if the runner takes it away from the bundle of both. */
  static final class Sharing extends DoFn<KV<String, Integer>, Void> {
    private static final CountDownLatch SECOND = new CountDownLatch(1);

    @ProcessElement
    public void process(@Element KV<String, Integer> pair) throws InterruptedException {
      if (pair.getValue() == 2) {
        SECOND.countDown();
      }
      System.out.printf("sharing: %d %s%n", pair.getValue(), SECOND.await(1, TimeUnit.MINUTES) ? "in time" : "alone");
    }
  }

  private static void sharing(Pipeline pipeline) {
    pipeline
        .apply(script().addElements(pair(1, "k", 1), pair(1, "k", 2)).advanceWatermarkToInfinity())
        .apply("Sharing", ParDo.of(new Sharing()));
  }

  private static final Schema SCORE = Schema.builder().addStringField("name").addInt32Field("points").build();

  private static final class Score implements Serializable {
    final String name;
    final int points;

    Score(String name, int points) {
      this.name = name;
      this.points = points;
    }

    static Row toRow(Score score) {
      return Row.withSchema(SCORE).addValues(score.name, score.points).build();
    }

    static Score fromRow(Row row) {
      return new Score(row.getString("name"), row.getInt32("points"));
    }
  }

  /** Takes rows where its input has objects, and gives rows for objects. */
  private static final class Doubled extends DoFn<Score, Score> {
    @ProcessElement
    public void process(@Element Row row, OutputReceiver<Row> doubled) {
      doubled.output(Row.withSchema(SCORE).addValues(row.getString("name"), 2 * row.getInt32("points")).build());
    }
  }

  private static final class ByField extends DoFn<Score, Void> {
    @ProcessElement
    public void process(@FieldAccess("points") int points, @FieldAccess("name") String name) {
      System.out.printf("fields: %s %d%n", name, points);
    }
  }

  private static void fields(Pipeline pipeline) {
    TypeDescriptor<Score> scores = TypeDescriptor.of(Score.class);
    pipeline
        .apply("Scores", Create.of(new Score("a", 1), new Score("b", 2)).withSchema(SCORE, scores, Score::toRow, Score::fromRow))
        .apply("Doubled", ParDo.of(new Doubled()))
        .setSchema(SCORE, scores, Score::toRow, Score::fromRow)
        .apply("Fields", ParDo.of(new ByField()));
  }

  /** One of the pipelines. */
  private interface Case {
    void build(Pipeline pipeline);
  }

  public static void main(String[] args) {
    List<PipelineResult> results = new ArrayList<>();
    for (Case each :
        List.<Case>of(
            Streams::expiration,
            Streams::timers,
            Streams::sortedByTime,
            Streams::stable,
            Streams::finalization,
            Streams::refreshed,
            Streams::sharing,
            Streams::fields)) {
      Pipeline pipeline = Pipeline.create(PipelineOptionsFactory.fromArgs(args).create());
      each.build(pipeline);
      results.add(pipeline.run());
    }
    for (PipelineResult result : results) {
      PipelineResult.State state = result.waitUntilFinish();
      if (state != PipelineResult.State.DONE) {
        throw new IllegalStateException("a job ended in state " + state);
      }
    }
  }
}
