// Crosslanguage counts words with a transform that Beam's Python SDK brings: one pipeline, workers of two languages.
//
// An expansion service says what the transform is, and names the workers that run it:
//
//	python -m apache_beam.runners.portability.expansion_service_main -p 8097 --fully_qualified_name_glob='*' --serve_loopback_worker
//	go build -o target/ ./crosslanguage && purlin run -- target/crosslanguage --service=localhost:8097
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/xlang/python"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

var service = flag.String("service", "", "Where the expansion service listens, as host:port")

// none stands for the arguments that the transform does not take.
type none struct{}

func init() {
	beam.RegisterType(reflect.TypeFor[none]())
	register.Function2x0(show)
}

func show(word string, count int64) {
	fmt.Printf("%s: %d\n", word, count)
}

func main() {
	flag.Parse()
	beam.Init()
	if *service == "" {
		log.Fatal("--service is needed")
	}
	pipeline, scope := beam.NewPipelineWithRoot()
	words := beam.Create(scope, "beam", "purlin", "beam", "rafter")
	count := python.NewExternalTransform[none, none]("apache_beam.transforms.combiners.Count.PerElement")
	counted := beam.CrossLanguage(scope, "beam:transforms:python:fully_qualified_named", beam.CrossLanguagePayload(count),
		*service, beam.UnnamedInput(words),
		beam.UnnamedOutput(typex.NewKV(typex.New(reflect.TypeFor[string]()), typex.New(reflect.TypeFor[int64]()))))
	beam.ParDo0(scope, show, counted[beam.UnnamedOutputTag()])
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatalf("the job failed: %v", err)
	}
}
