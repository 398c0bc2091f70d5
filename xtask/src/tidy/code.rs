//! Rust source without what only looks like code: comments and the insides of literals become spaces, lines stay.

/// Blanks comments, strings and character literals. Knows enough of Rust for this repository; not a compiler.
pub(crate) fn without_comments_and_literals(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| string(rest, &code)).or_else(|| character(rest)).unwrap_or(0);
        let (blank, after) = rest.split_at(skipped);
        code.extend(blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |end| end + 2))
}

fn string(text: &str, before: &str) -> Option<usize> {
    if let Some(body) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = body.find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        return Some(end.map_or(text.len(), |end| end + 2));
    }
    let in_a_name = before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_');
    let hashes = text.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    if in_a_name || !text[1 + hashes..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(text[body..].find(&close).map_or(text.len(), |end| body + end + close.len()))
}

/// `'x'` and `'\n'`, but not the lifetime `'a`.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    if let Some(escape) = body.strip_prefix('\\') {
        let first = escape.chars().next()?;
        return escape[first.len_utf8()..].find('\'').map(|end| 3 + first.len_utf8() + end);
    }
    let first = body.chars().next()?;
    body[first.len_utf8()..].starts_with('\'').then_some(2 + first.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(without_comments_and_literals(source).split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn comments_go_and_lines_stay() {
        check("a // unsafe\nb /* unsafe\n */ c", "a b c");
        assert_eq!(without_comments_and_literals("a // x\n/* y\n*/\nb").lines().count(), 4);
    }

    #[test]
    fn literals_go() {
        check(r#"f("un\"safe", 'x', '\'', '"', b"z") g"#, "f( , , , , b ) g");
        check(r##"f(r#"a "quoted" word"#, br"b") g"##, "f( , b ) g");
    }

    #[test]
    fn lifetimes_and_names_that_end_in_r_stay() {
        check(
            "fn f<'a>(bar: &'a str) -> Taken<'_> { for x in y {} }",
            "fn f<'a>(bar: &'a str) -> Taken<'_> { for x in y {} }",
        );
    }
}
