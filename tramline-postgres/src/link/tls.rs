//! Whether connections are encrypted, and how far the server's certificate is believed.

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;
use tramline_core::{Error, ErrorKind, Result};

/// What a URL asks for, with the words and the meaning of PostgreSQL's own clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Disable,
    /// If the server offers it.
    Prefer,
    /// With whatever certificate.
    Require,
    /// With one that a known authority has signed.
    VerifyCa,
    /// And that is the host's own.
    VerifyFull,
}

/// How connections are made safe.
pub(crate) struct Tls {
    pub(crate) mode: Mode,
    /// A file of authorities in place of those of the system.
    pub(crate) root: Option<String>,
    pub(super) connector: MakeRustlsConnect,
}

/// In place of a file: the authorities that the system knows.
const SYSTEM: &str = "system";

impl Tls {
    /// `mode` and `root` as `sslmode` and `sslrootcert` of a URL.
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: there is no such mode, or the authorities cannot be read.
    pub(super) fn new(mode: Option<&str>, root: Option<String>) -> Result<Self> {
        let root_file = root.clone().filter(|root| root != SYSTEM);
        // Everybody can have a certificate of one of those: without the name it shows nothing.
        let mode = match (mode, root_file == root) {
            (None, false) => "verify-full",
            (Some(mode), false) if mode != "verify-full" => {
                let why =
                    format!("sslrootcert={SYSTEM} with sslmode={mode}: say sslmode=verify-full");
                return Err(unreadable(why));
            }
            (mode, _) => mode.unwrap_or("prefer"),
        };
        let mode = match mode {
            "disable" => Mode::Disable,
            "allow" | "prefer" => Mode::Prefer,
            "require" if root_file.is_some() => Mode::VerifyCa,
            "require" => Mode::Require,
            "verify-ca" => Mode::VerifyCa,
            "verify-full" => Mode::VerifyFull,
            other => {
                let why = format!(
                    "there is no sslmode `{other}`; there are disable, prefer, require, verify-ca \
                     and verify-full"
                );
                return Err(unreadable(why));
            }
        };
        let connector = MakeRustlsConnect::new(config(mode, root_file.as_deref())?);
        Ok(Self { mode, root: root_file, connector })
    }
}

fn config(mode: Mode, root: Option<&str>) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unreadable(error.to_string()))?;
    let lenient = |chain| Arc::new(Lenient { provider: provider.clone(), chain });
    let builder = match mode {
        Mode::Disable | Mode::Prefer | Mode::Require => {
            builder.dangerous().with_custom_certificate_verifier(lenient(None))
        }
        Mode::VerifyCa => {
            let roots = Arc::new(authorities(root)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            let chain = chain.build().map_err(|error| unreadable(error.to_string()))?;
            builder.dangerous().with_custom_certificate_verifier(lenient(Some(chain)))
        }
        Mode::VerifyFull => builder.with_root_certificates(authorities(root)?),
    };
    Ok(builder.with_no_client_auth())
}

/// Those in a file, or else those of the system.
fn authorities(file: Option<&str>) -> Result<RootCertStore> {
    let mut known = RootCertStore::empty();
    let Some(file) = file else {
        let loaded = rustls_native_certs::load_native_certs();
        known.add_parsable_certificates(loaded.certs);
        if known.is_empty() {
            let why = "this system has no certificate authorities; name a file with sslrootcert";
            return Err(unreadable(why.to_owned()));
        }
        return Ok(known);
    };
    let bad = |why: String| unreadable(format!("sslrootcert `{file}`: {why}"));
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        known.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    match known.is_empty() {
        true => Err(bad("it holds no certificate".to_owned())),
        false => Ok(known),
    }
}

fn unreadable(why: String) -> Error {
    Error::new(ErrorKind::Misconfigured, "read how a PostgreSQL server is to be trusted")
        .because(why)
}

/// Believes any name, and any authority unless `chain` looks at it. That the server has the key to its
/// certificate is always checked.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let looked =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match looked {
            // The chain is looked at before the name.
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            looked => looked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_mean_what_they_mean_to_other_clients() {
        let mode = |mode: Option<&str>| Tls::new(mode, None).map(|tls| tls.mode);
        assert_eq!(mode(None).unwrap(), Mode::Prefer);
        assert_eq!(mode(Some("disable")).unwrap(), Mode::Disable);
        assert_eq!(mode(Some("require")).unwrap(), Mode::Require);
        let refused = mode(Some("verify")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Misconfigured);
        assert!(refused.to_string().contains("verify-full"), "{refused}");
    }

    #[test]
    fn authorities_of_the_system_are_believed_only_for_the_hosts_own_name() {
        let tls = |mode| Tls::new(mode, Some("system".to_owned()));
        for mode in [None, Some("verify-full")] {
            assert_eq!(tls(mode).map(|tls| tls.mode).unwrap(), Mode::VerifyFull);
        }
        for mode in ["disable", "prefer", "require", "verify-ca"] {
            let refused = tls(Some(mode)).err().unwrap().to_string();
            assert!(refused.contains(mode) && refused.contains("verify-full"), "{refused}");
        }
    }

    #[test]
    fn authorities_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        for file in [empty, folder.path().join("missing.pem")] {
            let file = file.to_str().unwrap().to_owned();
            for mode in ["require", "verify-ca", "verify-full"] {
                let refused = Tls::new(Some(mode), Some(file.clone())).err().unwrap();
                assert_eq!(refused.kind(), ErrorKind::Misconfigured);
                assert!(refused.to_string().contains(&file), "{mode}: {refused}");
            }
        }
    }
}
