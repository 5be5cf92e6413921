// A stream that is drained while timers of the clock wait for hours that nobody has, and one of event time goes on and on: they
// are set by each element and, if -sets says so, again by each that fires. It prints what it keeps, and each timer with what was
// kept.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/periodic"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

var sets = flag.String("sets", "none", "what a timer sets as it fires: none, itself, or the other one")

func init() {
	register.Function1x2(keyed)
	register.DoFn6x1[beam.Window, beam.EventTime, state.Provider, timers.Provider, string, int, error](&reminders{})
}

func keyed([]byte) (string, int) {
	return "k", 1
}

// reminders keeps its elements, and sets two timers of the clock, one of event time, and one for the end of its window.
type reminders struct {
	Kept        state.Bag[int]
	Later, Last timers.ProcessingTime
	Again, End  timers.EventTime
	Sets        string
}

func (r *reminders) ProcessElement(w beam.Window, at beam.EventTime, s state.Provider, t timers.Provider, _ string, number int) error {
	if err := r.Kept.Add(s, number); err != nil {
		return err
	}
	r.Again.Set(t, at.ToTime().Add(time.Second))
	r.End.Set(t, w.MaxTimestamp().ToTime())
	r.Last.Set(t, time.Now().Add(2*time.Hour))
	r.Later.Set(t, time.Now().Add(time.Hour))
	fmt.Println("kept")
	return nil
}

func (r *reminders) OnTimer(at beam.EventTime, s state.Provider, t timers.Provider, _ string, timer timers.Context) error {
	kept, _, err := r.Kept.Read(s)
	if err != nil {
		return err
	}
	fmt.Printf("%s with %d\n", timer.Family, len(kept))
	if r.Sets == "itself" && timer.Family == "again" {
		r.Again.Set(t, at.ToTime().Add(time.Second))
	}
	again := map[string]map[string]timers.ProcessingTime{
		"itself": {"later": r.Later, "last": r.Last},
		"other":  {"later": r.Last, "last": r.Later},
	}
	if next, ok := again[r.Sets][timer.Family]; ok {
		next.Set(t, time.Now().Add(time.Hour))
	}
	return nil
}

func main() {
	flag.Parse()
	beam.Init()
	pipeline, s := beam.NewPipelineWithRoot()
	ticks := periodic.Impulse(s, time.Now(), time.Now().Add(time.Hour), 10*time.Millisecond, false)
	windowed := beam.WindowInto(s, window.NewFixedWindows(1000*time.Hour), beam.ParDo(s, keyed, ticks))
	beam.ParDo0(s, &reminders{
		Kept:  state.MakeBagState[int]("kept"),
		Later: timers.InProcessingTime("later"),
		Last:  timers.InProcessingTime("last"),
		Again: timers.InEventTime("again"),
		End:   timers.InEventTime("end"),
		Sets:  *sets,
	}, windowed)
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatalf("the job did not end by itself: %v", err)
	}
}
