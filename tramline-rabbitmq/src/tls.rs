//! Certificates, read from files before anything is connected.

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use rustls_connector::rustls_pki_types::{CertificateDer, pem::PemObject};
use rustls_connector::{RustlsConnector, RustlsConnectorConfig};
use std::fs;
use tramline_core::{BoxError, Error, ErrorKind, Result};

/// Whom to trust and who we are.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// Certificates in PEM that may sign the broker's, beside those that the system trusts.
    authorities: Option<String>,
    /// Our certificate and its key, in PEM.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// Reads the files that a URL names.
    ///
    /// # Errors
    /// Says which file cannot be read or holds no certificate or key, and that `cert` and `key` go
    /// together.
    pub(crate) fn read(ca: Option<&str>, cert: Option<&str>, key: Option<&str>) -> Result<Self> {
        let authorities = ca.map(|path| pem("ca", path, "CERTIFICATE")).transpose()?;
        let identity = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                let cert = pem("cert", cert, "CERTIFICATE")?.into_bytes();
                Some((cert, pem("key", key, "PRIVATE KEY")?.into_bytes()))
            }
            _ => {
                let doing = "read the client's certificate: `cert` and `key` go together";
                return Err(Error::new(ErrorKind::Misconfigured, doing));
            }
        };
        Ok(Self { authorities, identity })
    }

    /// For HTTPS beside the broker, where the client's certificate is not shown.
    pub(crate) fn connector(&self) -> Result<RustlsConnector, BoxError> {
        let mut config = RustlsConnectorConfig::new_with_native_certs()?;
        if let Some(authorities) = &self.authorities {
            let certificates = CertificateDer::pem_slice_iter(authorities.as_bytes());
            config.add_parsable_certificates(certificates.collect::<Result<_, _>>()?);
        }
        Ok(config.connector_with_no_client_auth()?)
    }

    /// As the client wants it.
    pub(crate) fn config(&self) -> OwnedTLSConfig {
        let identity = self.identity.clone();
        OwnedTLSConfig {
            identity: identity.map(|(pem, key)| OwnedIdentity::PKCS8 { pem, key }),
            cert_chain: self.authorities.clone(),
        }
    }
}

fn pem(option: &str, path: &str, holds: &str) -> Result<String> {
    let bad = || Error::new(ErrorKind::Misconfigured, format!("read {path:?} (option `{option}`)"));
    let text = fs::read_to_string(path).map_err(|error| bad().because(error))?;
    if text.contains(&format!("{holds}-----")) {
        Ok(text)
    } else {
        Err(bad().because(format!("there is no {holds} in PEM in it")))
    }
}
