// Wordcount counts the words of a text.
//
//	go build ./wordcount && purlin run -- ./wordcount --input=data.txt --output=counts.txt
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"regexp"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/textio"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
)

var (
	input  = flag.String("input", "", "The texts: a file, or a pattern of files")
	output = flag.String("output", "", "The file that takes the counts")

	words = regexp.MustCompile(`[\p{L}']+`)
	lines = beam.NewCounter("wordcount", "lines")
)

func init() {
	register.Function3x0(split)
	register.Function2x1(format)
	register.Emitter1[string]()
}

func split(ctx context.Context, line string, emit func(string)) {
	lines.Inc(ctx, 1)
	for _, word := range words.FindAllString(strings.ToLower(line), -1) {
		emit(word)
	}
}

func format(word string, count int) string {
	return fmt.Sprintf("%s: %d", word, count)
}

func main() {
	flag.Parse()
	beam.Init()
	if *input == "" || *output == "" {
		log.Fatal("both --input and --output are needed")
	}
	pipeline, scope := beam.NewPipelineWithRoot()
	text := textio.Read(scope, *input)
	counted := stats.Count(scope, beam.ParDo(scope, split, text))
	textio.Write(scope, *output, beam.ParDo(scope, format, counted))
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatalf("the job failed: %v", err)
	}
}
