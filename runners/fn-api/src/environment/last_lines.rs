//! The last lines of what a process writes, whatever it writes.

use std::collections::VecDeque;

/// How many lines are kept.
const LINES_MAX: usize = 40;

/// A longer line is cut into lines of this length: nothing may grow with what a process writes.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Splits a stream of bytes into lines, and remembers the last ones.
#[derive(Debug, Default)]
pub(super) struct LastLines {
    lines: VecDeque<String>,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl LastLines {
    /// Takes some bytes; `each` hears of every line that they complete.
    pub(super) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for byte in bytes {
            if *byte == b'\n' || self.begun.len() >= LINE_BYTES_MAX {
                self.end_line(&mut each);
            }
            if *byte != b'\n' {
                self.begun.push(*byte);
            }
        }
    }

    /// The stream has ended, perhaps within a line.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            self.end_line(&mut each);
        }
    }

    /// The lines that are kept.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    fn end_line(&mut self, each: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.begun).trim_end_matches('\r').to_owned();
        self.begun.clear();
        each(&line);
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(chunks: &[&[u8]]) -> (Vec<String>, LastLines) {
        let (mut heard, mut last) = (Vec::new(), LastLines::default());
        for chunk in chunks {
            last.take(chunk, |line| heard.push(line.to_owned()));
        }
        last.finish(|line| heard.push(line.to_owned()));
        (heard, last)
    }

    #[test]
    fn lines_may_come_in_pieces_and_end_without_an_end() {
        assert_eq!(take(&[b"a\r\nb", b"c\n\nd"]).0, ["a", "bc", "", "d"]);
        assert_eq!(take(&[]).0, Vec::<String>::new());
    }

    #[test]
    fn only_the_last_lines_are_kept_and_none_is_long() {
        let many: String = (0..100).map(|line| format!("{line}\n")).collect();
        let (heard, last) = take(&[many.as_bytes()]);
        assert_eq!(heard.len(), 100);
        assert_eq!(last.lines().collect::<Vec<_>>(), (60..100).map(|line| line.to_string()).collect::<Vec<_>>());
        let (heard, _) = take(&[&vec![b'x'; 2 * LINE_BYTES_MAX + 1]]);
        assert_eq!(heard.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, LINE_BYTES_MAX, 1]);
    }
}
