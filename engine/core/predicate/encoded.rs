//! Texts as they look inside of encoded ones: UTF-16, Base64, and Base64 that starts anywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What is done to the text that a rule names before it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-16, little end first: how Windows holds texts.
    Utf16Le,
    /// UTF-16, big end first.
    Utf16Be,
    /// UTF-16, little end first, with a byte order mark before it.
    Utf16,
    /// Base64 of the whole text.
    Base64,
    /// The part of it that stands in Base64 of a longer text, wherever in that it begins: three forms.
    Base64Offset,
}

impl Encoding {
    /// All of them with the name that a rule uses.
    pub const NAMES: [(&'static str, Encoding); 6] = [
        ("utf16le", Encoding::Utf16Le),
        ("wide", Encoding::Utf16Le),
        ("utf16be", Encoding::Utf16Be),
        ("utf16", Encoding::Utf16),
        ("base64", Encoding::Base64),
        ("base64offset", Encoding::Base64Offset),
    ];
}

/// The forms of a text after these steps, any of which may be there.
///
/// # Errors
/// When the result is no text that an event can hold, or nothing of it is left.
pub fn encoded(text: &str, steps: &[Encoding]) -> Result<Vec<String>, String> {
    let mut forms: Vec<Vec<u8>> = vec![text.as_bytes().to_vec()];
    for step in steps {
        forms = forms.iter().map(|form| one_step(form, *step)).collect::<Result<Vec<_>, _>>()?.concat();
    }
    let as_text = |form: Vec<u8>| match String::from_utf8(form) {
        Ok(text) if !text.is_empty() => Ok(text),
        Ok(_) => Err(format!("{text:?} is too short: nothing of it is the same wherever it begins")),
        Err(_) => Err(format!("{text:?} in UTF-16 is no text that an event can hold: add `base64`")),
    };
    forms.into_iter().map(as_text).collect()
}

fn one_step(form: &[u8], step: Encoding) -> Result<Vec<Vec<u8>>, String> {
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Result<Vec<u8>, String> {
        let text =
            std::str::from_utf8(form).map_err(|_| "UTF-16 comes before the other encodings".to_owned())?;
        Ok(text.encode_utf16().flat_map(bytes).collect())
    };
    Ok(match step {
        Encoding::Utf16Le => vec![utf16(u16::to_le_bytes)?],
        Encoding::Utf16Be => vec![utf16(u16::to_be_bytes)?],
        Encoding::Utf16 => vec![[vec![0xff, 0xfe], utf16(u16::to_le_bytes)?].concat()],
        Encoding::Base64 => vec![STANDARD.encode(form).into_bytes()],
        Encoding::Base64Offset => (0..3).map(|offset| offset_form(form, offset)).collect(),
    })
}

/// What of the Base64 of a longer text depends on `form` alone, where `form` begins `offset` bytes after a multiple of
/// three.
fn offset_form(form: &[u8], offset: usize) -> Vec<u8> {
    let padded = [vec![b' '; offset], form.to_vec()].concat();
    let whole = STANDARD.encode(&padded).into_bytes();
    // A character holds six bits: those that reach into the bytes before or behind are not ours alone.
    let from = [0, 2, 3][offset];
    let to = whole.len() - [0, 3, 2][padded.len() % 3];
    whole.get(from..to).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_form_stands_in_the_base64_of_any_longer_text() {
        for text in ["foo", "http://", "IEX", "New-Object"] {
            let forms = encoded(text, &[Encoding::Base64Offset]).expect("texts");
            for (before, after) in [("", ""), ("a", "zz"), ("ab", "q"), ("abc", "1"), ("abcd", "")] {
                let whole = STANDARD.encode(format!("{before}{text}{after}"));
                assert!(forms.iter().any(|form| whole.contains(form.as_str())), "{text} in {before}…{after}");
            }
        }
    }

    #[test]
    fn a_command_for_powershell_is_utf16_in_base64() {
        let forms = encoded("IEX", &[Encoding::Utf16Le, Encoding::Base64]).expect("a text");
        assert_eq!(forms, ["SQBFAFgA"]);
        assert_eq!(
            encoded("foobar", &[Encoding::Base64Offset]).expect("texts"),
            ["Zm9vYmFy", "Zvb2Jhc", "mb29iYX"]
        );
    }

    #[test]
    fn what_no_event_can_hold_is_refused() {
        assert!(encoded("é", &[Encoding::Utf16Le]).is_err());
        assert!(encoded("x", &[Encoding::Utf16]).is_err());
        assert!(encoded("", &[Encoding::Base64Offset]).is_err());
    }
}
