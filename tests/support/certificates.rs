//! An authority of the test's own, and certificates that it vouches for.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair,
};

/// An authority with its certificate in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificate, as PEM.
    pub file: PathBuf,
}

/// Files of a certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority, which nobody else trusts, with its certificate in `file`.
    pub fn new(file: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = name("authority");
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("a certificate of its own");
        std::fs::write(file, issuer.pem()).expect("written");
        Authority { issuer, file: file.to_owned() }
    }

    /// A certificate for a server on this machine, in `STEM.pem` and `STEM.key`.
    pub fn server(&self, stem: &Path) -> Pair {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names that can be certified");
        params.distinguished_name = name("server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, stem)
    }

    /// A certificate for the client `common_name` of the organisation Sightline, in `STEM.pem` and `STEM.key`.
    pub fn client(&self, common_name: &str, stem: &Path) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, stem)
    }

    fn sign(&self, params: CertificateParams, stem: &Path) -> Pair {
        let key = key();
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        let pair = Pair { cert: stem.with_extension("pem"), key: stem.with_extension("key") };
        std::fs::write(&pair.cert, cert.pem()).expect("written");
        std::fs::write(&pair.key, key.serialize_pem()).expect("written");
        pair
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Sightline");
    name.push(DnType::CommonName, common_name);
    name
}
