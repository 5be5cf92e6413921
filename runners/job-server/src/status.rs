//! Answers that refuse, in words that fit where gRPC carries them.
//!
//! A status message travels in the trailers, percent-encoded. gRPC's C core, and so Python, begins to drop answers whose
//! headers exceed 8 KiB, so that a long list of problems has to be cut, with the number of those that were left out.

use tonic::{Code, Status};

/// How long a status message may be in its encoded form. The rest of 8 KiB is for other headers.
const ENCODED_LENGTH_MAX: usize = 6_000;

/// What a list that was cut ends with.
const REST_LENGTH_MAX: usize = 100;

/// A status with this text, cut if it is too long.
pub(crate) fn refusal(code: Code, text: &str) -> Status {
    Status::new(code, fitting(text.split_inclusive('\n')))
}

/// As many of the lines as fit, and the number of the others.
fn fitting<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    let mut room = ENCODED_LENGTH_MAX - REST_LENGTH_MAX;
    let mut lines = lines.peekable();
    while let Some(line) = lines.peek() {
        let length = encoded_length(line);
        if length > room {
            if text.is_empty() {
                text.push_str(head(line, room));
                lines.next();
            }
            break;
        }
        room -= length;
        text.push_str(line);
        lines.next();
    }
    let rest = lines.count();
    if rest > 0 {
        text.push_str(&format!("… and {rest} more lines; `purlin check` shows them all"));
    }
    text
}

/// The longest beginning that fits.
fn head(line: &str, room: usize) -> &str {
    let mut left = room;
    let end = line.char_indices().find_map(|(at, char)| {
        let length = encoded_length(char.encode_utf8(&mut [0; 4]));
        if length > left {
            return Some(at);
        }
        left -= length;
        None
    });
    &line[..end.unwrap_or(line.len())]
}

fn encoded_length(text: &str) -> usize {
    text.bytes().map(|byte| if matches!(byte, b' '..=b'~') && byte != b'%' { 1 } else { 3 }).sum()
}

#[cfg(test)]
mod tests {
    use purlin_plan::Problems;

    use super::*;

    #[test]
    fn what_fits_is_whole() {
        assert_eq!(refusal(Code::NotFound, "no job `ä`").message(), "no job `ä`");
    }

    #[test]
    fn what_does_not_fit_is_cut_at_a_line_and_counted() {
        let mut found = Problems::new();
        for number in 0..10_000 {
            found.add(format!("Transform{number:05}"), "cannot run", "");
        }
        let found = found.into_result(()).unwrap_err();
        let status = refusal(Code::InvalidArgument, &found.to_string());
        assert!(encoded_length(status.message()) <= ENCODED_LENGTH_MAX);
        assert!(
            status
                .message()
                .starts_with("this pipeline cannot run, for 10000 reasons:\n- Transform00000: cannot run\n")
        );
        let shown = status.message().lines().count() - 2;
        let rest = 10_000 - shown;
        assert!(status.message().ends_with(&format!("… and {rest} more lines; `purlin check` shows them all")));
    }

    #[test]
    fn one_long_line_is_cut_between_characters() {
        let status = refusal(Code::InvalidArgument, &"ß".repeat(5_000));
        assert_eq!(encoded_length(status.message()), (ENCODED_LENGTH_MAX - REST_LENGTH_MAX) / 6 * 6);
    }
}
