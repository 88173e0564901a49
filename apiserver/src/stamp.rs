//! What the server itself makes up for objects: times, uids, names.

use rand::seq::IndexedRandom as _;

/// The letters of generated names: no vowels and nothing that looks like something else, as upstream.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Letters of a generated suffix.
const SUFFIX_LENGTH: usize = 5;
/// The longest prefix that a generated suffix is put behind.
const MAX_GENERATE_PREFIX: usize = 63 - SUFFIX_LENGTH;

/// Now, as objects carry it: RFC 3339 in whole seconds.
pub fn now() -> String {
    machinery::clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A new uid. Its bytes come from the thread's generator: asking the system for each takes as long as all the
/// rest of a stamp.
pub fn new_uid() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

/// A name that begins with a prefix and ends in letters by chance.
pub fn generated(prefix: &str) -> String {
    let mut end = prefix.len().min(MAX_GENERATE_PREFIX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut rng = rand::rng();
    let suffix = (0..SUFFIX_LENGTH).filter_map(|_| SUFFIX_LETTERS.choose(&mut rng)).map(|b| char::from(*b));
    prefix[..end].chars().chain(suffix).collect()
}
