import java.io.IOException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.beam.runners.portability.PortableRunner;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.PipelineRunner;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.testing.ValidatesRunner;
import org.joda.time.Duration;
import org.junit.Test;
import org.junit.experimental.categories.Categories.CategoryFilter;
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.Request;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

/**
 * Runs Beam's own tests for runners, those of the category {@code ValidatesRunner}, by a job server: several classes at once, for the
 * client mostly waits. Prints a line per test, its verdict, its name and what was wrong, with tabs between.
 *
 * <p>Arguments: the server, a pattern of class names, how many classes at once, and options of pipelines.
 */
public final class Suite {
  private Suite() {}

  /** Where Beam's tests are, within the jar of its classes. */
  private static final String TESTS = "beam-sdks-java-core-.*-tests\\.jar";

  /** No test needs a half of it. */
  private static final Duration PATIENCE = Duration.standardMinutes(3);

  /** The portable runner, which does not wait for a job's end by itself, and takes a failed job for a result. */
  public static final class Waiting extends PipelineRunner<PipelineResult> {
    private final PortableRunner runner;

    private Waiting(PortableRunner runner) {
      this.runner = runner;
    }

    /** What Beam makes runners with. */
    public static Waiting fromOptions(PipelineOptions options) {
      return new Waiting(PortableRunner.fromOptions(options));
    }

    @Override
    public PipelineResult run(Pipeline pipeline) {
      PipelineResult result = runner.run(pipeline);
      PipelineResult.State state = result.waitUntilFinish(PATIENCE);
      if (state == null || !state.isTerminal()) {
        try {
          result.cancel();
        } catch (IOException gone) {
          // The server has ended, and the job with it.
        }
        throw new IllegalStateException("the job did not end in time");
      }
      if (state != PipelineResult.State.DONE) {
        throw new IllegalStateException("the job ended in state " + state);
      }
      return result;
    }
  }

  /** Prints verdicts. */
  private static final class Verdicts extends RunListener {
    private final Map<Description, String> failed = new HashMap<>();

    private static void tell(String verdict, Description test, String why) {
      String of = test.getTestClass() == null ? "" : test.getTestClass().getName().replaceFirst(".*\\.", "") + ".";
      // One write, so that lines stay whole.
      System.out.print(verdict + "\t" + of + test.getMethodName() + "\t" + why + "\n");
    }

    @Override
    public void testFailure(Failure failure) {
      String message = String.valueOf(failure.getException());
      failed.putIfAbsent(failure.getDescription(), message.replaceAll("\\s+", " "));
    }

    @Override
    public void testIgnored(Description test) {
      tell("skipped", test, "");
    }

    @Override
    public void testFinished(Description test) {
      String why = failed.get(test);
      tell(why == null ? "passed" : why.contains("did not end in time") ? "no end" : "failed", test, why == null ? "" : why);
    }
  }

  private static boolean hasTests(Class<?> of) {
    if (Modifier.isAbstract(of.getModifiers())) {
      return false;
    }
    for (Method method : of.getMethods()) {
      if (method.isAnnotationPresent(Test.class)) {
        return true;
      }
    }
    return false;
  }

  private static List<Class<?>> classes(String pattern) throws IOException {
    List<Class<?>> found = new ArrayList<>();
    for (String path : System.getProperty("java.class.path").split(":")) {
      if (!Paths.get(path).getFileName().toString().matches(TESTS)) {
        continue;
      }
      try (JarFile jar = new JarFile(path)) {
        for (JarEntry entry : Collections.list(jar.entries())) {
          String name = entry.getName().replace('/', '.').replaceFirst("\\.class$", "");
          if (!name.contains("Test") || !name.matches(pattern)) {
            continue;
          }
          try {
            Class<?> of = Class.forName(name, false, Suite.class.getClassLoader());
            if (hasTests(of)) {
              found.add(of);
            }
          } catch (ReflectiveOperationException | LinkageError foreign) {
            // It wants something that is not here, and has no tests of runners then.
          }
        }
      }
    }
    return found;
  }

  public static void main(String[] arguments) throws Exception {
    // Workers live in this program, so that nothing has to be staged but a file that says so.
    Path staged = Files.writeString(Files.createTempFile("suite", ".txt"), "LOOPBACK");
    List<String> options = new ArrayList<>();
    options.add("--runner=Suite$Waiting");
    options.add("--jobEndpoint=" + arguments[0]);
    options.add("--defaultEnvironmentType=LOOPBACK");
    options.add("--filesToStage=" + staged);
    options.addAll(List.of(arguments).subList(3, arguments.length));
    System.setProperty("beamTestPipelineOptions", "[\"" + String.join("\",\"", options) + "\"]");
    ExecutorService threads = Executors.newFixedThreadPool(Integer.parseInt(arguments[2]));
    CategoryFilter ofRunners = CategoryFilter.include(ValidatesRunner.class);
    for (Class<?> of : classes(arguments[1])) {
      threads.submit(
          () -> {
            Request tests = Request.aClass(of);
            // A class without any would be told as one that cannot begin.
            if (ofRunners.shouldRun(tests.getRunner().getDescription())) {
              JUnitCore core = new JUnitCore();
              core.addListener(new Verdicts());
              core.run(tests.filterWith(ofRunners));
            }
          });
    }
    threads.shutdown();
    threads.awaitTermination(2, TimeUnit.HOURS);
    Files.delete(staged);
    // Threads of workers may be left.
    System.exit(0);
  }
}
