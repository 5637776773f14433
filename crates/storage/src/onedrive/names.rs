//! Names accepted by OneDrive ("Restrictions and limitations in OneDrive and SharePoint", `support.microsoft.com`; "Addressing
//! resources in a drive", `learn.microsoft.com/graph/onedrive-addressing-driveitems`).

use stowage_http::target::encode;

use crate::{Error, Kind, Result};

/// Rejects a name that cannot be a path in a drive.
///
/// # Errors
/// `Refused`.
pub(super) fn check(name: &str) -> Result<()> {
    name.split('/')
        .find_map(fault)
        .map_or(Ok(()), |fault| Err(Error::new(Kind::Refused, format!("OneDrive takes no object whose name {fault}"))))
}

/// Encodes a name as a URL path, segment by segment.
pub(super) fn path(name: &str) -> String {
    name.split('/').map(encode).collect::<Vec<_>>().join("/")
}

fn fault(segment: &str) -> Option<&'static str> {
    let lower = segment.to_ascii_lowercase();
    if matches!(segment, "" | "." | "..") {
        return Some("leaves its folder or has an empty part");
    }
    if segment.contains(|character: char| character.is_control() || "\"*:<>?\\|".contains(character)) {
        return Some("has one of \" * : < > ? \\ | or a control character");
    }
    if segment.starts_with(' ') || segment.ends_with([' ', '.']) {
        return Some("has a part that begins with a space or ends with a space or a dot");
    }
    let device = |kind: &str| {
        lower.strip_prefix(kind).is_some_and(|rest| {
            rest.len() == 1 && rest.as_bytes().is_ascii() && rest.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let reserved = matches!(&*lower, ".lock" | "con" | "prn" | "aux" | "nul" | "desktop.ini")
        || device("com")
        || device("lpt")
        || lower.contains("_vti_")
        || lower.starts_with("~$");
    reserved.then_some(
        "has a part that is reserved: .lock, CON, PRN, AUX, NUL, COM0 to COM9, LPT0 to LPT9, desktop.ini, ~$..., _vti_",
    )
}

#[cfg(test)]
mod tests {
    use super::{check, path};

    #[test]
    fn names_that_the_service_refuses_are_refused() {
        for name in [
            "",
            "a//b",
            "..",
            "a/./b",
            "a:b",
            "a?",
            "a*",
            "a|b",
            "a\\b",
            "\"a\"",
            "<a>",
            "a\tb",
            " a",
            "a ",
            "a.",
            "x/ a/y",
            "CON",
            "com7/x",
            "lpt0",
            "Desktop.ini",
            "x/.lock",
            "~$a",
            "a_vti_b",
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
        for name in
            ["a b", "a%2Fb", ".hidden", "com", "com10", "control", "~a", "a;b,c@d!$()", "[x]{y}^`", "ü/日本.mp3", "%"]
        {
            assert!(check(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_name_stays_what_it_is() {
        assert_eq!(path("a b/c%2Fd#e+f/ü.mp3"), "a%20b/c%252Fd%23e%2Bf/%C3%BC.mp3");
    }
}
