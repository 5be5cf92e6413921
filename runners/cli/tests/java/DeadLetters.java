import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.coders.StringUtf8Coder;
import org.apache.beam.sdk.coders.VarIntCoder;
import org.apache.beam.sdk.options.ExperimentalOptions;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.state.StateSpec;
import org.apache.beam.sdk.state.StateSpecs;
import org.apache.beam.sdk.state.ValueState;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Reshuffle;
import org.apache.beam.sdk.transforms.Sum;
import org.apache.beam.sdk.transforms.Values;
import org.apache.beam.sdk.transforms.WithKeys;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.TimestampedValue;
import org.joda.time.Duration;
import org.joda.time.Instant;

/**
 * A function that cannot take one of its elements: {@code broken FOLDER} runs it, and at once a stateful one, with dead letters in
 * two folders of that one; {@code mended} takes the element.
 */
public final class DeadLetters {
  private DeadLetters() {}

  private static TimestampedValue<String> at(long second, String word) {
    return TimestampedValue.of(word, Instant.ofEpochSecond(second));
  }

  private static PCollection<String> words(Pipeline pipeline) {
    return pipeline
        .apply(
            Create.timestamped(at(1, "1"), at(2, "2"), at(3, "warped"), at(4, "4"), at(11, "8"), at(12, "16"))
                .withCoder(StringUtf8Coder.of()))
        .apply(Window.into(FixedWindows.of(Duration.standardSeconds(10))))
        // So that an element that fails stands in its window, and not in that of its source.
        .apply("Pair", WithKeys.of("one"))
        .apply(Reshuffle.of())
        .apply(Values.create());
  }

  /** Takes a word for a number. */
  static final class Parse extends DoFn<String, Integer> {
    private final boolean mended;

    Parse(boolean mended) {
      this.mended = mended;
    }

    @ProcessElement
    public void process(@Element String word, OutputReceiver<Integer> out) {
      out.output(mended && word.equals("warped") ? 32 : Integer.parseInt(word));
    }
  }

  /** Prints the sum of a window. */
  static final class Show extends DoFn<Integer, Void> {
    @ProcessElement
    public void process(@Element Integer sum, BoundedWindow window) {
      System.out.printf("sum: %d is %d%n", window.maxTimestamp().getMillis(), sum);
    }
  }

  private static void parse(Pipeline pipeline, boolean mended) {
    words(pipeline)
        .apply("Parse", ParDo.of(new Parse(mended)))
        .apply("Sum", Sum.integersGlobally().withoutDefaults())
        .apply("Show", ParDo.of(new Show()));
  }

  /** Adds up with state. */
  static final class Count extends DoFn<KV<String, String>, Void> {
    @StateId("sum")
    private final StateSpec<ValueState<Integer>> sum = StateSpecs.value(VarIntCoder.of());

    @ProcessElement
    public void process(@Element KV<String, String> word, @StateId("sum") ValueState<Integer> sum) {
      Integer before = sum.read();
      sum.write((before == null ? 0 : before) + Integer.parseInt(word.getValue()));
    }
  }

  private static void count(Pipeline pipeline) {
    words(pipeline)
        .apply(
            "By length",
            WithKeys.<String, String>of(word -> "length " + word.length())
                .withKeyType(StringUtf8Coder.of().getEncodedTypeDescriptor()))
        .apply("Count", ParDo.of(new Count()));
  }

  private static Pipeline pipeline(String[] args, String folder) {
    PipelineOptions options = PipelineOptionsFactory.fromArgs(args).create();
    ExperimentalOptions.addExperiment(options.as(ExperimentalOptions.class), "dead_letter_dir=" + folder);
    return Pipeline.create(options);
  }

  /** How a job ends: Java's client throws what a job that failed has to say. */
  private static String end(PipelineResult result) {
    try {
      return result.waitUntilFinish().toString();
    } catch (RuntimeException failure) {
      return "FAILED";
    }
  }

  public static void main(String[] args) {
    String[] options = Arrays.copyOfRange(args, 2, args.length);
    boolean mended = args[0].equals("mended");
    Pipeline parse = pipeline(options, args[1] + "/elements");
    parse(parse, mended);
    List<PipelineResult> results = new ArrayList<>(List.of(parse.run()));
    if (!mended) {
      Pipeline count = pipeline(options, args[1] + "/stateful");
      count(count);
      results.add(count.run());
    }
    for (PipelineResult result : results) {
      System.out.printf("end: %s%n", end(result));
    }
  }
}
