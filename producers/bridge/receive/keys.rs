//! Who may post: keys, compared in a time that says nothing of how much of one was right.

use std::path::Path;

use axum::http::{HeaderMap, header};

/// Shortest key. What is shorter can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// The keys that senders may use.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Hashes, whose comparison takes the same time whatever they are; none where everybody may post.
    hashes: Option<Vec<blake3::Hash>>,
}

impl Keys {
    /// Everybody may post. For loopback.
    pub fn none() -> Self {
        Keys { hashes: None }
    }

    /// The keys in a file, one a line.
    ///
    /// # Errors
    /// When it cannot be read, holds none, or one that is too short.
    pub fn open(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the keys in {}: {error}", path.display()))?;
        let mut hashes = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if key.len() < KEY_BYTES_MIN {
                return Err(format!(
                    "{}:{}: a key of {} bytes can be guessed: use at least {KEY_BYTES_MIN}, such as \
                     `openssl rand -hex 32` writes",
                    path.display(),
                    at + 1,
                    key.len()
                ));
            }
            hashes.push(blake3::hash(key.as_bytes()));
        }
        if hashes.is_empty() {
            return Err(format!("{} holds no key: write one a line", path.display()));
        }
        Ok(Keys { hashes: Some(hashes) })
    }

    /// Whether a sender may post, who says `X-Api-Key: KEY` or `Authorization: Bearer KEY`.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(hashes) = &self.hashes else { return true };
        let given = headers.get("x-api-key").map(|value| value.as_bytes()).or_else(|| {
            headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        });
        let Some(given) = given else { return false };
        let given = blake3::hash(given);
        // All of them, whichever is right. `blake3::Hash` compares in constant time.
        hashes.iter().fold(false, |admitted, hash| (*hash == given) | admitted)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_opens_and_nothing_else_does() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "# sensors\n0123456789abcdef\nfedcba9876543210\n").expect("written");
        let keys = Keys::open(file.path()).expect("two keys");
        let admits = |name: &'static str, value: &'static str| {
            keys.admit(&HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]))
        };
        assert!(admits("x-api-key", "fedcba9876543210"));
        assert!(admits("authorization", "Bearer 0123456789abcdef"));
        assert!(!admits("x-api-key", "0123456789abcde"));
        assert!(!admits("x-api-key", "# sensors"));
        assert!(!admits("authorization", "0123456789abcdef"));
        assert!(!keys.admit(&HeaderMap::new()) && Keys::none().admit(&HeaderMap::new()));
    }

    #[test]
    fn a_short_key_is_refused_with_its_line() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "0123456789abcdef\nadmin\n").expect("written");
        assert!(Keys::open(file.path()).expect_err("too short").contains(":2: a key of 5 bytes"));
        std::fs::write(file.path(), "# none\n").expect("written");
        assert!(Keys::open(file.path()).is_err());
    }
}
