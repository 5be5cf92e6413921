import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.coders.VarLongCoder;
import org.apache.beam.sdk.io.GenerateSequence;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.state.BagState;
import org.apache.beam.sdk.state.StateSpec;
import org.apache.beam.sdk.state.StateSpecs;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.state.Timer;
import org.apache.beam.sdk.state.TimerSpec;
import org.apache.beam.sdk.state.TimerSpecs;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.WithKeys;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.KV;
import org.joda.time.Duration;
import org.joda.time.Instant;

/**
 * A stream that is drained while timers of the clock wait for hours that nobody has, and one of event time goes on and on: all of them
 * are set by each element. Of the clock's, each sets the other one again as it fires. Prints what it keeps, and each timer with what was
 * kept.
 */
public final class Draining {
  private Draining() {}

  /** Keeps its elements until its window is over. */
  static final class Reminders extends DoFn<KV<String, Long>, Void> {
    private static final Duration HOUR = Duration.standardHours(1);
    private static final Duration SECOND = Duration.standardSeconds(1);

    @StateId("kept")
    private final StateSpec<BagState<Long>> kept = StateSpecs.bag(VarLongCoder.of());

    @TimerId("later")
    private final TimerSpec later = TimerSpecs.timer(TimeDomain.PROCESSING_TIME);

    @TimerId("last")
    private final TimerSpec last = TimerSpecs.timer(TimeDomain.PROCESSING_TIME);

    @TimerId("again")
    private final TimerSpec again = TimerSpecs.timer(TimeDomain.EVENT_TIME);

    @TimerId("end")
    private final TimerSpec end = TimerSpecs.timer(TimeDomain.EVENT_TIME);

    @ProcessElement
    public void process(
        @Element KV<String, Long> pair,
        @Timestamp Instant at,
        BoundedWindow window,
        @StateId("kept") BagState<Long> kept,
        @TimerId("later") Timer later,
        @TimerId("last") Timer last,
        @TimerId("again") Timer again,
        @TimerId("end") Timer end) {
      kept.add(pair.getValue());
      later.offset(HOUR).setRelative();
      last.offset(HOUR.multipliedBy(2)).setRelative();
      again.set(at.plus(SECOND));
      end.set(window.maxTimestamp());
      System.out.println("kept");
    }

    private static void tell(String timer, BagState<Long> kept) {
      int count = 0;
      for (Long ignored : kept.read()) {
        count++;
      }
      System.out.printf("%s with %d%n", timer, count);
    }

    @OnTimer("later")
    public void onLater(@StateId("kept") BagState<Long> kept, @TimerId("last") Timer last) {
      tell("later", kept);
      last.offset(HOUR).setRelative();
    }

    @OnTimer("last")
    public void onLast(@StateId("kept") BagState<Long> kept, @TimerId("later") Timer later) {
      tell("last", kept);
      later.offset(HOUR).setRelative();
    }

    @OnTimer("again")
    public void onAgain(
        @StateId("kept") BagState<Long> kept, @Timestamp Instant at, @TimerId("again") Timer again) {
      tell("again", kept);
      again.set(at.plus(SECOND));
    }

    @OnTimer("end")
    public void onEnd(@StateId("kept") BagState<Long> kept) {
      tell("end", kept);
    }

    @OnWindowExpiration
    public void expire(@StateId("kept") BagState<Long> kept) {
      tell("expired", kept);
    }
  }

  public static void main(String[] args) {
    Pipeline pipeline = Pipeline.create(PipelineOptionsFactory.fromArgs(args).create());
    pipeline
        .apply(GenerateSequence.from(0).withRate(1, Duration.millis(10)))
        .apply(Window.into(FixedWindows.of(Duration.standardHours(100_000))))
        .apply(WithKeys.of("k"))
        .apply("Reminders", ParDo.of(new Reminders()));
    PipelineResult.State state = pipeline.run().waitUntilFinish();
    System.out.printf("the job is %s%n", state);
  }
}
