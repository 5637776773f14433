//! Parses replies to `EPSV` and `PASV`: where the server opened a data connection.
//!
//! The address in a reply is ignored: behind NAT it is a private one, and a server must not choose where we connect. Data
//! connections use the address of the control connection.

/// Parses the port in a reply to `EPSV` (RFC 2428 section 3): `(|||port|)`, with any delimiter. Some servers omit the parentheses,
/// or include protocol and address.
pub(super) fn extended_port(answer: &[u8]) -> Option<u16> {
    let text = words(answer)?;
    let inside = text.split_once('(').map_or(text.as_str(), |(_, rest)| rest.split(')').next().unwrap_or(rest));
    let mut delimiters = inside.chars().filter(char::is_ascii_punctuation);
    let delimiter = if inside.contains('|') { '|' } else { delimiters.next()? };
    let port = inside.split(delimiter).nth(3)?.trim().parse().ok()?;
    Some(port).filter(|port| *port > 0)
}

/// Parses the port in a reply to `PASV`: the last two of six numbers. Their position is not specified: "the User-FTP must scan the
/// reply for the first digit of the host and port numbers" (RFC 1123 section 4.1.2.6).
pub(super) fn port(answer: &[u8]) -> Option<u16> {
    let text = words(answer)?;
    let starts = text.char_indices().filter(|(at, character)| {
        let before = text.get(..*at).and_then(|before| before.chars().next_back());
        character.is_ascii_digit() && !before.is_some_and(|before| before.is_ascii_digit())
    });
    let [.., high, low] = starts.filter_map(|(at, _)| six(text.get(at..)?)).next()?;
    Some(u16::from_be_bytes([high, low])).filter(|port| *port > 0)
}

/// Parses the six numbers at the start of a text.
fn six(text: &str) -> Option<[u8; 6]> {
    let mut numbers = [0; 6];
    let mut rest = text;
    for (position, number) in numbers.iter_mut().enumerate() {
        if position > 0 {
            rest = rest.trim_start().strip_prefix(',')?.trim_start();
        }
        let (digits, after) =
            rest.split_at_checked(rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len()))?;
        *number = digits.parse().ok()?;
        rest = after;
    }
    Some(numbers)
}

/// Returns the text after the code.
fn words(answer: &[u8]) -> Option<String> {
    answer.get(3..).map(|words| String::from_utf8_lossy(words).into_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

    use proptest::prelude::*;

    use super::{extended_port, port};

    #[test]
    fn passive_answers_are_looked_through_for_digits() {
        for answer in [
            "227 Entering Passive Mode (127,0,0,1,4,1).",
            "227 Entering Passive Mode 127,0,0,1,4,1",
            "227 Entering Passive Mode. 127,0,0,1,4,1.",
            "227 Entering Passive Mode =127,0,0,1,4,1",
            "227 =127,0,0,1,4,1",
            "227 Entering Passive Mode ( 127, 0, 0, 1, 4, 1 )",
            "227 Entering Passive Mode (127 ,0 ,0 ,1 ,4 ,1)",
            "227 Entering Passive Mode [127,0,0,1,4,1]",
            "227 Server 2, port 7: 127,0,0,1,004,001\r\n",
            "227-some\r\n227 Entering Passive Mode (127,0,0,1,4,1)\r\n",
            "227 Passiver Modus f\u{fc}r (127,0,0,1,4,1)",
            "227 (127,0,0,1,4,1) and (9,9,9,9,9,9)",
        ] {
            assert_eq!(port(answer.as_bytes()), Some(1025), "{answer}");
        }
        for wrong in
            ["", "227", "227 no", "227 (1,2,3,4,5)", "227 (1,2,3,4,256,1)", "227 (1,2,3,4,0,0)", "227 1.2.3.4:5"]
        {
            assert_eq!(port(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn extended_answers_may_be_odd_too() {
        for answer in [
            "229 Entering Extended Passive Mode (|||1025|)",
            "229 Entering Extended Passive Mode (|||1025|).\r\n",
            "229 Entering Extended Passive Mode |||1025|",
            "229 Extended Passive Mode OK (|||1025|",
            "229 ok (!!!1025!)",
            "229 ok (|1|132.235.1.2|1025|)",
            "229 ok (|2|::1|1025|)",
            "229 ok (||| 1025 |)",
        ] {
            assert_eq!(extended_port(answer.as_bytes()), Some(1025), "{answer}");
        }
        for wrong in ["", "229", "229 ok", "229 ok (|||)", "229 ok (||||)", "229 ok (|||0|)", "229 ok (|||70000|)"] {
            assert_eq!(extended_port(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in proptest::collection::vec(any::<u8>(), 0..60), text in "227.{0,30}[0-9, ]{0,30}") {
            let _ = (port(&answer), extended_port(&answer), port(text.as_bytes()), extended_port(text.as_bytes()));
        }

        #[test]
        fn every_port_is_found(high in any::<u8>(), low in any::<u8>(), before in "[a-z .(=]{0,9}", blank in " ?") {
            prop_assume!((high, low) != (0, 0));
            let answer = format!("227 {before}10,0,0,1,{blank}{high}{blank},{low}");
            prop_assert_eq!(port(answer.as_bytes()), Some(u16::from(high) << 8 | u16::from(low)));
        }
    }
}
