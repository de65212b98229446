//! Numbers on a command line.

/// The number that `text` stands for, if it is one from `least` to `most`; otherwise what to give instead.
pub(crate) fn between(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let good = text.parse().ok().filter(|n| (least..=most).contains(n));
    good.ok_or_else(|| format!("give a whole number from {least} to {most}"))
}
