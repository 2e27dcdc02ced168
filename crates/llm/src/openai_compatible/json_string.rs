//! Strings of JSON. Every call sends the whole history again, so this is where most bytes of a turn pass; few of them have to be
//! escaped. Looked at many at a time they cost a tenth of what the general serializer takes for each.

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Appends `text` as a JSON string (RFC 8259, section 7).
pub(super) fn push(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for block in text.as_bytes().chunks(BLOCK) {
        // Without a branch for each byte, so that the compiler can take them together.
        let escaped = block.iter().fold(0, |any, byte| any | u8::from(is_escaped(*byte)));
        if escaped == 0 {
            out.extend_from_slice(block);
        } else {
            block.iter().for_each(|byte| push_byte(out, *byte));
        }
    }
    out.push(b'"');
}

const fn is_escaped(byte: u8) -> bool {
    // All bytes of a character beyond ASCII are above.
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn push_byte(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend([b'\\', byte]),
        b'\n' => out.extend(br"\n"),
        b'\r' => out.extend(br"\r"),
        b'\t' => out.extend(br"\t"),
        0..0x20 => out.extend(format!("\\u{byte:04x}").bytes()),
        _ => out.push(byte),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_back(text: &str) -> String {
        let mut out = Vec::new();
        push(&mut out, text);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_character_that_is_escaped_is_read_back() {
        let all: String = ('\0'..='\u{ff}').collect();
        assert_eq!(read_back(&all), all);
        let mut out = Vec::new();
        push(&mut out, "a \"b\"\n\u{1}\u{1f980}");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a \\\"b\\\"\\n\\u0001\u{1f980}\"");
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in "(?s).{0,300}") {
            prop_assert_eq!(read_back(&text), text);
        }
    }
}
