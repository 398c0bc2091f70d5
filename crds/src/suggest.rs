//! "Did you mean": the nearest of the known names, if it is near.

use faultline_features::closest;

/// `. Did you mean "merchant"?`, or nothing: the end of a message.
pub(crate) fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(found, known).map_or_else(String::new, |name| format!(". Did you mean \"{name}\"?"))
}
