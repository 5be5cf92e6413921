// A side input that is refreshed while the stream runs: each pane of it replaces the one before.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window/trigger"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

func init() {
	register.Function3x0(split)
	register.Function2x0(show)
	register.Emitter1[int]()
}

// An Event is an order, or the rate at which orders are priced from now on.
type Event struct {
	IsRate bool
	Number int
}

func split(event Event, orders, rates func(int)) {
	if event.IsRate {
		rates(event.Number)
	} else {
		orders(event.Number)
	}
}

func show(order, rate int) {
	fmt.Printf("refreshed: %d at rate %d\n", order, rate)
}

func main() {
	flag.Parse()
	beam.Init()
	stream := teststream.NewConfig()
	for second, event := range []Event{{false, 1}, {true, 10}, {false, 2}, {true, 20}, {false, 3}} {
		if err := stream.AddElements(int64(second)*1000, event); err != nil {
			log.Fatalf("the stream contradicts itself: %v", err)
		}
	}
	if err := stream.AdvanceWatermarkToInfinity(); err != nil {
		log.Fatalf("the stream contradicts itself: %v", err)
	}
	pipeline, s := beam.NewPipelineWithRoot()
	orders, rates := beam.ParDo2(s, split, teststream.Create(s, stream))
	latest := beam.WindowInto(s, window.NewGlobalWindows(), rates,
		beam.Trigger(trigger.Repeat(trigger.AfterCount(1))), beam.PanesDiscard())
	beam.ParDo0(s, show, orders, beam.SideInput{Input: latest})
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatalf("the job failed: %v", err)
	}
}
