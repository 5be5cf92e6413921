"""Orders in two currencies, at exchange rates that change while the pipeline runs: a slowly changing side input.

    a tick, now and then ─► the rates of that moment ─► global window, fires for each ─┐ one value: the latest
    orders, many a second ──────────────────────────────────────────────────────────────┴─► a line for each order

Run it with Purlin, from the root of the repository; it goes on until you stop it, with Ctrl-C or `purlin drain`:

    purlin run -- .env/bin/python examples/python/exchange_rates.py

docs/guide/side-inputs.md says which rates an order sees.
"""

import sys
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms import trigger
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import GlobalWindows

TICK_SECONDS = 1
ORDER_SECONDS = 0.1


def rates_of(tick, since):
    """The rates of a moment; a real pipeline would ask a service, or read a file."""
    number = round((tick - since) / TICK_SECONDS)
    return {"number": number, "EUR": 1.10 + number / 1000, "GBP": 1.30 - number / 1000}


def order_of(tick, since):
    number = round((tick - since) / ORDER_SECONDS)
    return number, "EUR" if number % 2 == 0 else "GBP", 10 + number % 5


def price(order, rates):
    """A line for an order; `rates` is what the side input holds when the order's bundle begins."""
    number, currency, amount = order
    return f"order {number}: {amount} {currency} are {amount * rates[currency]:.2f} USD at rates {rates['number']}"


def build(pipeline, since):
    """Puts the steps into `pipeline`."""
    rates = (
        pipeline
        | "Ticks" >> PeriodicImpulse(start_timestamp=since, fire_interval=TICK_SECONDS)
        | "Rates" >> beam.Map(lambda tick: rates_of(float(tick), since))
        | "Latest" >> beam.WindowInto(
            GlobalWindows(),
            trigger=trigger.Repeatedly(trigger.AfterCount(1)),
            accumulation_mode=trigger.AccumulationMode.DISCARDING,
        )
    )
    _ = (
        pipeline
        | "Clock" >> PeriodicImpulse(start_timestamp=since, fire_interval=ORDER_SECONDS)
        | "Orders" >> beam.Map(lambda tick: order_of(float(tick), since))
        | "Price" >> beam.Map(price, rates=AsSingleton(rates))
        | "Show" >> beam.Map(lambda line: print(line, flush=True))
    )


def main():
    options = PipelineOptions(sys.argv[1:])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        build(pipeline, since=time.time())


if __name__ == "__main__":
    main()
