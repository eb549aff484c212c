//! Short references for people: `L-7K3M-92QX`, Crockford base 32, without letters that look like digits.

/// Crockford's alphabet: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A new random reference `<prefix>-XXXX-XXXX`. 40 random bits: the caller keeps a unique key and tries again on
/// the rare clash.
pub fn new_reference(prefix: char) -> String {
    let symbol = |byte: u8| char::from(ALPHABET[usize::from(byte % 32)]);
    let random: [u8; 8] = rand::random();
    let text: String = random.into_iter().map(symbol).collect();
    format!("{prefix}-{}-{}", &text[..4], &text[4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_no_look_alikes() {
        for _ in 0..200 {
            let reference = new_reference('L');
            assert_eq!(reference.len(), 11);
            assert!(
                reference[2..]
                    .chars()
                    .all(|c| c == '-' || (c.is_ascii_alphanumeric() && !"ILOU".contains(c)))
            );
        }
    }
}
