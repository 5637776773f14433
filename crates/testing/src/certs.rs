//! Throw-away certificates, created with the same script that people use.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Certificates of a CA, a server (localhost, 127.0.0.1 and ::1) and a client; all PEM, removed on drop.
#[derive(Debug)]
pub struct Certs {
    folder: TempDir,
}

impl Certs {
    /// Creates them with `certs/make-dev-certs`; the server's certificate also covers `names`.
    pub fn make(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = crate::root().join("certs/make-dev-certs");
        let output = Command::new(&script)
            .arg("--directory")
            .arg(folder.path())
            .args(names)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        assert!(output.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    /// Returns the CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns the server's certificate.
    pub fn server(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// Returns the server's key.
    pub fn server_key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// Signs another certificate for the server's key, which is a client's as well: what etcd has, whose JSON gateway is a client of it.
    pub fn server_and_client(&self) -> PathBuf {
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
        std::fs::write(self.folder.path().join("both.ext"), names).expect("extensions");
        self.openssl("req -new -key server.key -subj /CN=localhost -out both.csr");
        self.openssl(
            "x509 -req -in both.csr -CA ca.pem -CAkey ca.key -days 2 -set_serial 7 -extfile both.ext -out both.pem",
        );
        self.folder.path().join("both.pem")
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.folder.path()).output();
        let output = output.expect("openssl");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns the client's certificate.
    pub fn client(&self) -> PathBuf {
        self.folder.path().join("client.pem")
    }

    /// Returns the client's key.
    pub fn client_key(&self) -> PathBuf {
        self.folder.path().join("client.key")
    }
}
