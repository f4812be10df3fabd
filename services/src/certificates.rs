//! Certificates for TLS, made with `openssl` when a server is first started.

use crate::Result;
use crate::folder::{create, write};
use crate::process::{bounded, output};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Longer than any checkout lives.
const DAYS: &str = "3650";

/// Where the certificates and private keys of a server lie, all of them as PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The authority that has signed the server's and the client's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// An authority that has signed neither: who trusts only it must refuse the server.
    pub fn other_ca(&self) -> PathBuf {
        self.folder.join("other-ca.pem")
    }

    /// The server's own, for `localhost` and 127.0.0.1.
    pub fn server(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// Its private key.
    pub fn server_key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    /// A client's, for `CN=client`.
    pub fn client(&self) -> PathBuf {
        self.folder.join("client.pem")
    }

    /// Its private key (PKCS #8).
    pub fn client_key(&self) -> PathBuf {
        self.folder.join("client.key")
    }

    /// A client's that the other authority has signed: the server refuses it.
    pub fn other_client(&self) -> PathBuf {
        self.folder.join("other-client.pem")
    }

    /// Its private key.
    pub fn other_client_key(&self) -> PathBuf {
        self.folder.join("other-client.key")
    }

    /// Makes all of them, unless they are there. Left in the middle, it begins anew.
    pub(crate) fn provide(&self) -> Result<()> {
        if self.folder.exists() {
            return Ok(());
        }
        let unfinished = self.folder.with_extension("new");
        create(&unfinished)?;
        for authority in ["ca", "other-ca"] {
            make_authority(&unfinished, authority)?;
        }
        let server = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";
        let client = "extendedKeyUsage=clientAuth\n";
        sign(&unfinished, "ca", "server", server)?;
        sign(&unfinished, "ca", "client", client)?;
        sign(&unfinished, "other-ca", "other-client", client)?;
        std::fs::rename(&unfinished, &self.folder).map_err(|error| {
            let folder = self.folder.display();
            crate::Error::failed(format!("failed to create {folder}: {error}"))
        })
    }
}

fn make_authority(folder: &Path, name: &str) -> Result<()> {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    let subject = format!("/CN=Tramline tests {name}");
    let line = ["req", "-x509", "-days", DAYS, "-subj", &subject, "-out", &certificate];
    openssl(folder, &line, &key)
}

/// Makes a key, and a certificate for it that the authority has signed.
fn sign(folder: &Path, authority: &str, name: &str, extensions: &str) -> Result<()> {
    let [key, request, certificate, extra] =
        ["key", "request", "pem", "extensions"].map(|suffix| format!("{name}.{suffix}"));
    let subject = format!("/CN={name}");
    openssl(folder, &["req", "-new", "-subj", &subject, "-out", &request], &key)?;
    write(&folder.join(&extra), &format!("basicConstraints=CA:FALSE\n{extensions}"))?;
    let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
    let mut command = bounded("openssl", LIMIT);
    command.args(["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key]);
    command.args(["-CAcreateserial", "-days", DAYS, "-extfile", &extra, "-out", &certificate]);
    output_in(folder, command)
}

/// Runs a request that makes a new key.
fn openssl(folder: &Path, line: &[&str], key: &str) -> Result<()> {
    let mut command = bounded("openssl", LIMIT);
    command.args(line).args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-keyout", key]);
    output_in(folder, command)
}

fn output_in(folder: &Path, mut command: std::process::Command) -> Result<()> {
    command.current_dir(folder);
    output(command).map(drop)
}
