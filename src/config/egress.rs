//! `[egress]`: the addresses that tenants' backends may have.

use std::path::PathBuf;

use stowage_base::reader::Section;
use stowage_http::egress;

use super::values::networks;

/// `[egress]`: the addresses that tenants' backends may have.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    /// `allow` and `deny`.
    pub policy: egress::Egress,
    /// A PEM file of certificates to trust in addition to the system's.
    pub ca: Option<PathBuf>,
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Egress {
    let (allow, deny) = (networks(&mut section, "allow"), networks(&mut section, "deny"));
    let ca = Some(section.text("ca", "")).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = ca.as_ref().filter(|path| !path.is_file()) {
        section.problem("ca", format!("there is no file {}", path.display()));
    }
    let egress = Egress { policy: egress::Egress::new(allow, deny), ca };
    section.finish();
    egress
}
