//! Progress bars, which hide themselves where stderr is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts `things`.
pub(crate) fn bar(things: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{pos}}/{{len}} {things} {{eta}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}
