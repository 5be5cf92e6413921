// Windows sums elements per key in windows of ten seconds, which may slide.
//
//	1,000,000 elements of 100 s, 10 keys ─► windows ─► sum per key and window ─► how many sums, and their sum
//
// With --period=10s they are fixed; benchmarks/windows.py compares that with --period=100ms.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

const (
	keys = 10
	size = 10 * time.Second
	span = 100 * time.Second
)

var (
	elements = flag.Int("elements", 1_000_000, "how many")
	period   = flag.Duration("period", size, "from one window to the next")
)

func init() {
	register.DoFn2x0[[]byte, func(beam.EventTime, int, int)](&source{})
	register.Emitter3[beam.EventTime, int, int]()
	register.Emitter2[int, int]()
	register.Function3x0(toOneKey)
	register.Function2x1(check)
}

// source emits ones, evenly over the keys and the time.
type source struct {
	Elements int
}

func (s *source) ProcessElement(_ []byte, emit func(beam.EventTime, int, int)) {
	for i := 0; i < s.Elements; i++ {
		at := int64(i) * span.Milliseconds() / int64(s.Elements)
		emit(mtime.Time(at), i%keys, 1)
	}
}

func toOneKey(_ int, sum int, emit func(int, int)) {
	emit(0, sum)
}

func check(_ int, sum int) int {
	fmt.Printf("sum %d\n", sum)
	return sum
}

func main() {
	flag.Parse()
	beam.Init()
	pipeline, s := beam.NewPipelineWithRoot()
	timed := beam.ParDo(s, &source{Elements: *elements}, beam.Impulse(s))
	windowed := beam.WindowInto(s, window.NewSlidingWindows(*period, size), timed)
	sums := stats.SumPerKey(s, windowed)
	// Each element is in as many windows as there are periods in one.
	whole := beam.WindowInto(s, window.NewGlobalWindows(), beam.ParDo(s, toOneKey, sums))
	beam.ParDo(s, check, stats.SumPerKey(s, whole))
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatal(err)
	}
}
