//! Beam's example pipelines, from the installed package, unmodified, on each of our runners, against FnApiRunner; and our examples
//! with late data and with a side input that changes, against the guides.

mod harness;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::dashboard::{Column, prints_what_the_guide_says};
use harness::printing::Printing;
use harness::{RUNNERS, Server, finish, purlin, python, with_python};

/// One of our examples by `purlin run` on this runner, in its own process alone.
fn example(file: &str, runner: &str) -> Command {
    let mut command = purlin();
    command.args(["run", "--workers", "1", "--runner", runner, "--"]);
    let mut command = with_python(command);
    command.arg(Path::new("examples/python").join(file));
    command
}

#[test]
fn beams_examples_give_equal_results_on_every_runner() {
    let server = Server::start();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/beam_suite/examples.py");
    let mut command = Command::new(python());
    command.arg(file).args(["--endpoint", &server.endpoint()]).args(RUNNERS).stdin(Stdio::null());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    finish(command).well().says(&[&format!("{} equal, 0 failed", 14 * RUNNERS.len())]);
}

#[test]
fn the_dashboard_on_every_runner() {
    for runner in RUNNERS {
        let command = example("dashboard.py", runner);
        prints_what_the_guide_says(command, Column::Python);
    }
}

/// Each order is priced once, at the rates that were the latest when its bundle began: as time goes on, never at older ones.
#[test]
fn the_exchange_rates_on_every_runner() {
    for runner in RUNNERS {
        let command = example("exchange_rates.py", runner);
        let number = |text: &str| text.parse::<u64>().ok();
        let order = |line: &String| {
            let (order, rates) = line.strip_prefix("order ")?.split_once(" USD at rates ")?;
            Some((number(order.split_once(':')?.0)?, number(rates)?))
        };
        let mut printing = Printing::new(command);
        printing.until(|lines| {
            let rates: BTreeSet<u64> = lines.iter().filter_map(order).map(|(_, rates)| rates).collect();
            rates.len() > 2
        });
        let printed = printing.interrupt();
        let orders: Vec<(u64, u64)> = printed.iter().filter_map(order).collect();
        let each: BTreeSet<u64> = orders.iter().map(|(order, _)| *order).collect();
        assert_eq!(each.len(), orders.len(), "{runner}: no order is priced twice: {printed:#?}");
        assert_eq!(each.first(), Some(&0), "{runner}: the first order waited for the first rates: {printed:#?}");
        assert!(
            orders.is_sorted_by_key(|(_, rates)| *rates),
            "{runner}: rates are replaced by newer ones: {printed:#?}"
        );
    }
}
