//! What the user sees: results on standard output, complaints on standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::Failure;

/// Writes a result. A reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a result as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print(&format!("{text}\n"))
}

/// Writes the state that a job has come into.
pub(crate) fn print_state(job: &str, state: &'static str, json: bool) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Job<'a> {
        id: &'a str,
        state: &'static str,
    }
    if json { print_json(&Job { id: job, state }) } else { print(&format!("{job} is {state}\n")) }
}

/// Tells what went wrong. If standard error is gone, there is nobody to tell.
pub(crate) fn complain(text: &str) {
    note(&format!("purlin: {text}"));
}

/// Tells what goes on.
pub(crate) fn note(text: &str) {
    // In one piece: programs that run beside this one write to the same terminal.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Rows of cells in columns, each as wide as its widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["job-1".to_owned(), "RUNNING".to_owned()], vec!["a".to_owned(), "DONE".to_owned()]];
        assert_eq!(table(&["JOB", "STATE"], &rows), "JOB    STATE\njob-1  RUNNING\na      DONE\n");
    }
}
