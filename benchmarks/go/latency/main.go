// Latency is a stream that measures itself: how long an element is on its way from its source to the last DoFn, through a value
// state.
//
//	periodic.Impulse ─► the instant, with a key ─► a DoFn with a state of each key ─► what the clock says now
//
// Each line of the file is one element, in seconds: made since the beginning, on the way since it was made, and since it was due.
// benchmarks/latency.py runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/periodic"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

const keys = 100

var (
	measured  = flag.String("measured", "", "the file that is written")
	perSecond = flag.Int("per_second", 1000, "elements per second")
	seconds   = flag.Int("seconds", 20, "how long the stream is")
)

func init() {
	register.Function3x0(stamp)
	register.Emitter2[int, instants]()
	register.DoFn4x1[state.Provider, int, instants, func(int, instants), error](&count{})
	register.DoFn2x0[int, instants](&arrive{})
}

var made atomic.Int64

// instants are those at which an element came from the source, and should have come, in nanoseconds.
type instants struct {
	Made, Due int64
}

// stamp gives what comes from the source a key and its instants.
func stamp(due beam.EventTime, _ []byte, emit func(int, instants)) {
	emit(int(made.Add(1)%keys), instants{time.Now().UnixNano(), due.ToTime().UnixNano()})
}

// count counts the elements of each key in its state, and passes them on.
type count struct {
	Seen state.Value[int]
}

func (c *count) ProcessElement(s state.Provider, key int, of instants, emit func(int, instants)) error {
	seen, _, err := c.Seen.Read(s)
	if err != nil {
		return err
	}
	if err := c.Seen.Write(s, seen+1); err != nil {
		return err
	}
	emit(key, of)
	return nil
}

// arrive writes down how long elements were on their way.
type arrive struct {
	Path  string
	Began int64
	lines []byte
}

func (a *arrive) ProcessElement(_ int, of instants) {
	now := time.Now().UnixNano()
	seconds := func(from, to int64) float64 { return float64(to-from) / 1e9 }
	a.lines = fmt.Appendf(a.lines, "%.6f %.6f %.6f\n", seconds(a.Began, of.Made), seconds(of.Made, now), seconds(of.Due, now))
}

// FinishBundle appends in one write, since bundles may run side by side.
func (a *arrive) FinishBundle() error {
	file, err := os.OpenFile(a.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(a.lines)
	a.lines = a.lines[:0]
	return err
}

func main() {
	flag.Parse()
	beam.Init()
	pipeline, s := beam.NewPipelineWithRoot()
	began := time.Now()
	end := began.Add(time.Duration(*seconds) * time.Second)
	ticks := periodic.Impulse(s, began, end, time.Second/time.Duration(*perSecond), false)
	counted := beam.ParDo(s, &count{Seen: state.MakeValueState[int]("seen")}, beam.ParDo(s, stamp, ticks))
	beam.ParDo0(s, &arrive{Path: *measured, Began: began.UnixNano()}, counted)
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatal(err)
	}
}
