// A function that cannot take one of its elements until it is mended.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

var mended = flag.Bool("mended", false, "take every element")

func init() {
	register.Function1x2(lengthOf)
	register.Function1x0(show)
}

func lengthOf(word string) (int, error) {
	if word == "warped" && !*mended {
		return 0, fmt.Errorf("%s timber cannot be measured", word)
	}
	return len(word), nil
}

func show(total int) {
	fmt.Printf("the sum is %d\n", total)
}

func main() {
	flag.Parse()
	beam.Init()
	pipeline, s := beam.NewPipelineWithRoot()
	lengths := beam.ParDo(s, lengthOf, beam.Create(s, "ridge", "purlin", "warped", "rafter"))
	beam.ParDo0(s, show, stats.Sum(s, lengths))
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatalf("the job failed: %v", err)
	}
}
