// Dashboard sums the scores of two teams, a window a minute: estimates early, the result on time, corrections when scores
// come late.
//
//	go build ./dashboard && purlin run -- ./dashboard
//
// The stream is a TestStream, so that each run prints the same. The same pipeline stands in examples/python/dashboard.py and in
// examples/java; docs/guide/late-data.md explains the lines.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window/trigger"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

func init() {
	register.Function1x2(split)
	register.Function4x0(show)
	register.Iter1[int]()
}

// A Score is what a team has made.
type Score struct {
	Team   string
	Points int
}

func split(score Score) (string, int) {
	return score.Team, score.Points
}

var timings = map[typex.PaneTiming]string{
	typex.PaneEarly: "EARLY", typex.PaneOnTime: "ON_TIME", typex.PaneLate: "LATE", typex.PaneUnknown: "UNKNOWN",
}

// show prints each pane. It sums by itself, because Go's combiners do not pass on which pane they were given.
func show(pane beam.PaneInfo, at beam.Window, team string, scores func(*int) bool) {
	points := 0
	for score := 0; scores(&score); {
		points += score
	}
	within := at.(window.IntervalWindow)
	start, end := within.Start.Milliseconds()/1000, within.End.Milliseconds()/1000
	fmt.Printf("%ds-%ds %s %d %s pane %d\n", start, end, team, points, timings[pane.Timing], pane.Index)
}

// scores tells what happens, in order: scores with the second in which they were made, and how far the stream is.
func scores(s beam.Scope) beam.PCollection {
	stream := teststream.NewConfig()
	say := func(err error) {
		if err != nil {
			log.Fatalf("the stream contradicts itself: %v", err)
		}
	}
	score := func(second int64, team string, points int) {
		say(stream.AddElements(second*1000, Score{team, points}))
	}
	score(10, "blue", 3)
	score(20, "red", 5)
	score(40, "blue", 4)
	say(stream.AdvanceWatermark(60_000)) // The first minute is over, as far as anybody knows.
	score(70, "red", 1)
	score(50, "blue", 2)                  // Late: a correction.
	say(stream.AdvanceWatermark(400_000)) // Five minutes later corrections are not wanted any more.
	score(30, "red", 9)                   // Too late: dropped, and counted.
	say(stream.AdvanceWatermarkToInfinity())
	return teststream.Create(s, stream)
}

func main() {
	flag.Parse()
	beam.Init()
	pipeline, s := beam.NewPipelineWithRoot()
	each := trigger.Repeat(trigger.AfterCount(1))
	minutes := beam.WindowInto(s, window.NewFixedWindows(time.Minute), beam.ParDo(s, split, scores(s)),
		beam.Trigger(trigger.AfterEndOfWindow().EarlyFiring(each).LateFiring(each)),
		beam.PanesAccumulate(), beam.AllowedLateness(5*time.Minute))
	beam.ParDo0(s, show, beam.GroupByKey(s, minutes))
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatalf("the job failed: %v", err)
	}
}
