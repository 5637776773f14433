//! The admin account of a built-in store that has none configured.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use stowage_base::secret::Secret;
use stowage_http::body::BoxError;

/// Returns the account: `admin`, with a password generated once and kept in a file in the data directory.
pub(super) fn store_account(data: &Path) -> Result<(String, Secret), BoxError> {
    let path = data.join("admin-password");
    let known = match fs::read_to_string(&path) {
        Ok(known) => known,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display()).into()),
    };
    // With an empty password, every client could be the server's admin.
    if !known.trim().is_empty() {
        return Ok(("admin".to_owned(), Secret::new(known.trim_end())));
    }
    let password = uuid::Uuid::new_v4().simple().to_string();
    keep(data, &path, &password).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    tracing::info!(file = %path.display(), "made an admin account for the built-in store: the password is in this file");
    Ok(("admin".to_owned(), Secret::new(password)))
}

/// Writes the password under a temporary name first, so that a crash or a full disk leaves no file without it.
fn keep(data: &Path, path: &Path, password: &str) -> std::io::Result<()> {
    fs::create_dir_all(data)?;
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(password.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_without_a_password_gets_one_which_then_stays() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("admin-password");
        for blank in ["", " \n"] {
            fs::write(&path, blank).unwrap();
            let (name, password) = store_account(data.path()).unwrap();
            assert_eq!((name.as_str(), password.expose().len()), ("admin", 32));
            assert_eq!(fs::read_to_string(&path).unwrap(), password.expose());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(store_account(data.path()).unwrap().1.expose(), password.expose());
        }
    }
}
