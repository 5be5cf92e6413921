//! Sizes as people write them: `512MiB`, `2G`, `50%` of the machine's memory.

use purlin_job_server::MemoryBudget;

/// Reads an amount of memory.
pub(crate) fn memory_budget(text: &str) -> Result<MemoryBudget, String> {
    let wrong = || format!("`{text}` is no amount of memory; write for example 512MiB, 2GiB, 1500000000 or 50%");
    let text_trimmed = text.trim();
    if let Some(percent) = text_trimmed.strip_suffix('%') {
        let percent: u8 = percent.trim().parse().map_err(|_| wrong())?;
        return if (1..=100).contains(&percent) { Ok(MemoryBudget::Percent(percent)) } else { Err(wrong()) };
    }
    let digits = text_trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let unit: f64 = match text_trimmed[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(wrong()),
    };
    let bytes = number * unit;
    if bytes.is_finite() && bytes >= 1.0 && bytes < u64::MAX as f64 {
        Ok(MemoryBudget::Bytes(bytes as u64))
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let check = |text: &str, expected| assert_eq!(memory_budget(text), Ok(expected), "{text}");
        check("512MiB", MemoryBudget::Bytes(512 << 20));
        check("2g", MemoryBudget::Bytes(2 << 30));
        check("1.5 GB", MemoryBudget::Bytes(1_500_000_000));
        check("1048576", MemoryBudget::Bytes(1 << 20));
        check("50%", MemoryBudget::Percent(50));
    }

    #[test]
    fn what_is_no_size_is_refused_with_examples() {
        for text in ["", "much", "0", "-1G", "101%", "0%", "5 parsecs", "NaN", "inf", "1e400"] {
            let refused = memory_budget(text).unwrap_err();
            assert!(refused.contains("512MiB"), "{text}: {refused}");
        }
    }
}
