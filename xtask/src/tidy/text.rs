//! Rust source without what is not code.

/// Whether the path is one of a Rust source.
pub fn is_rust(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extension == "rs")
}

/// The source with comments and the contents of strings blanked, line breaks kept: what rules look for is found in
/// code only, and line numbers stay.
pub fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        if let Some(end) = end {
            for byte in &mut code[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end.unwrap_or(at + 1);
    }
    String::from_utf8(code).expect("whole comments and strings were replaced by ASCII")
}

/// Where the comment, string or character that begins here ends; `None` when code stands here.
fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return Some(at + find(rest, b"\n").unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(at + find(rest, b"*/").map_or(rest.len(), |end| end + 2));
    }
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest[0] == b'r' && (!after_word || bytes[at - 1] == b'b') {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let closing = [b"\"".as_slice(), &rest[1..=hashes]].concat();
            let body = 2 + hashes;
            return Some(
                at + find(&rest[body..], &closing).map_or(rest.len(), |end| body + end + closing.len()),
            );
        }
    }
    match rest[0] {
        b'"' => Some(at + quoted(rest, b'"')),
        // A lifetime has no closing quote; a character is one, or an escape.
        b'\'' if rest.get(1) == Some(&b'\\') => Some(at + quoted(rest, b'\'')),
        b'\'' => {
            let character = std::str::from_utf8(&rest[1..rest.len().min(5)]).map_or_else(
                |error| error.valid_up_to().min(1),
                |text| text.chars().next().map_or(0, char::len_utf8),
            );
            (character > 0 && rest.get(1 + character) == Some(&b'\'')).then_some(at + character + 2)
        }
        _ => None,
    }
}

/// The length of a quoted text with escapes, quotes included.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Lines, numbered from 1, in which the words stand: not as a part of a longer name.
pub fn lines_with<'a>(code: &'a str, words: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.lines().enumerate().filter(move |(_, line)| has(line, words)).map(|(n, _)| n + 1)
}

fn has(line: &str, words: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(words).any(|(at, _)| {
        let begins = !words.starts_with(is_name) || !line[..at].ends_with(is_name);
        let ends = !words.ends_with(is_name) || !line[at + words.len()..].starts_with(is_name);
        begins && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        for (source, kept, gone) in [
            ("a(); // axum::x\nb();", "b()", "axum"),
            ("let s = \"axum\\\" x\"; b();", "b()", "axum"),
            ("let s = r#\"axum \" x\"#; b();", "b()", "axum"),
            ("let s = br\"axum\\\"; b();", "b()", "axum"),
            ("/* axum\n */ b();", "b()", "axum"),
            ("let c = '\"'; b(); // axum", "b()", "axum"),
            ("let c = '\\''; b(); let s = \"axum\";", "b()", "axum"),
            ("fn f<'a>(x: &'a str) { b('\u{131}') } // axum", "b(", "axum"),
        ] {
            let code = code(source);
            assert!(code.contains(kept), "{source} -> {code}");
            assert!(!code.contains(gone), "{source} -> {code}");
            assert_eq!(code.lines().count(), source.lines().count());
        }
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(lines_with("a\nuse axum::x;\nmy_axum::x\naxum_extra", "axum").collect::<Vec<_>>(), [2]);
        assert_eq!(lines_with("sqlx::query!(1)\nmyquery!(", "query!").collect::<Vec<_>>(), [1]);
    }
}
