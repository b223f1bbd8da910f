//! OpenPGP's cleartext signature framework (RFC 9580, section 7): the form of `InRelease`.
//!
//! ```text
//! -----BEGIN PGP SIGNED MESSAGE-----
//! Hash: SHA512
//!
//! the text, each line that begins with a dash escaped by `- `
//! -----BEGIN PGP SIGNATURE-----
//! …
//! -----END PGP SIGNATURE-----
//! ```
//!
//! rpgp reads this form too, in time that grows with the square of its length; this is one pass. Nothing but blank lines
//! may stand before or after: what is not signed has no business in the file.

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// The two halves of a cleartext-signed message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cleartext<'m> {
    /// What was signed: lines without blanks at their ends, separated by CR LF.
    pub(super) text: String,
    /// The armored signatures.
    pub(super) signatures: &'m str,
}

/// Splits a message; the error says what it lacks.
pub(super) fn split(message: &[u8]) -> Result<Cleartext<'_>, &'static str> {
    let message = std::str::from_utf8(message).map_err(|_| "the message is not UTF-8")?;
    let (body, signatures) = split_at_line(message, SIGNATURE).ok_or("there is no block of signatures")?;
    let mut lines = body.lines();
    if lines.next().map(str::trim_end) != Some(BEGIN) {
        return Err("it does not begin as a signed message does");
    }
    for header in lines.by_ref().take_while(|line| !line.trim_end().is_empty()) {
        if !header.starts_with("Hash: ") {
            return Err("it has a header that is not Hash");
        }
    }
    let mut text = String::with_capacity(body.len() + body.len() / 32);
    for (number, line) in lines.enumerate() {
        let line = match line.strip_prefix("- ") {
            Some(escaped) => escaped,
            None if line.starts_with('-') => return Err("a line begins with a dash that is not escaped"),
            None => line,
        };
        if number > 0 {
            text.push_str("\r\n");
        }
        text.push_str(line.trim_end_matches([' ', '\t', '\r']));
    }
    let (_, after) = split_at_line(signatures, END).ok_or("the block of signatures does not end")?;
    if !after[END.len()..].trim().is_empty() {
        return Err("something follows the block of signatures");
    }
    Ok(Cleartext { text, signatures })
}

/// Splits before the first line that begins with `start`.
fn split_at_line<'m>(message: &'m str, start: &str) -> Option<(&'m str, &'m str)> {
    let at = message.match_indices(start).map(|(at, _)| at).find(|at| message[..*at].ends_with('\n'))?;
    Some(message.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURES: &str = "-----BEGIN PGP SIGNATURE-----\n\nabc=\n-----END PGP SIGNATURE-----\n";

    fn text(body: &str) -> Result<String, &'static str> {
        let message = format!("{body}{SIGNATURES}");
        split(message.as_bytes()).map(|message| {
            assert_eq!(message.signatures, SIGNATURES);
            message.text
        })
    }

    /// Check that escapes and blanks at the ends of lines are taken away, and that the line end before the signature is no part of
    /// the text.
    #[test]
    fn normal_form() {
        let head = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n";
        assert_eq!(text(&format!("{head}a \t\n- -b\n\n c\n")).unwrap(), "a\r\n-b\r\n\r\n c");
        assert_eq!(text(&format!("{head}a\n\n")).unwrap(), "a\r\n");
        assert_eq!(text(head).unwrap(), "");
        assert_eq!(text(&format!("{head}a\n").replace('\n', "\r\n")).unwrap(), "a");
        assert_eq!(text("-----BEGIN PGP SIGNED MESSAGE-----\n\nno hash\n").unwrap(), "no hash");
    }

    /// Check that what is not wholly a signed message is refused.
    #[test]
    fn not_a_signed_message() {
        let head = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n";
        for body in
            ["", "a\n", &format!("a\n{head}b\n"), &format!("{head}-b\n"), &head.replace("Hash", "Charset")]
        {
            assert!(text(body).is_err(), "{body}");
        }
        for message in [
            format!("{head}a\n"),
            format!("{head}a\n{SIGNATURES}b\n"),
            format!("{head}a\n-----BEGIN PGP SIGNATURE-----\n\nabc=\n"),
            format!("{head}a\n{SIGNATURES}{head}b\n{SIGNATURES}"),
        ] {
            assert!(split(message.as_bytes()).is_err(), "{message}");
        }
        assert!(split(b"\xff").is_err());
    }

    /// Check that a message of nothing but line ends, or of nothing but beginnings, is read in one pass: the test would not end otherwise.
    #[test]
    fn linear_time() {
        let head = "-----BEGIN PGP SIGNED MESSAGE-----\n\n";
        assert_eq!(text(&format!("{head}{}", "\n".repeat(4 << 20))).unwrap().len(), (4 << 20) * 2 - 2);
        let beginnings = "x-----BEGIN PGP SIGNATURE-----".repeat(1 << 17);
        assert_eq!(text(&format!("{head}{beginnings}\n")).unwrap(), beginnings);
    }
}
