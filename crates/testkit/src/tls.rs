//! Servers behind TLS, with certificates that are made for one test.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use time::{Duration, OffsetDateTime};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// Who signs certificates; trusted by whoever is told to.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A listener that speaks TLS and passes on what it hears; closed when dropped.
#[derive(Debug)]
pub struct TlsDoor {
    address: SocketAddr,
    _server: JoinSet<()>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "An authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate, for those who trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A door to `target` with a certificate for `name` that is good until `days` from now, or has been until then.
    pub async fn door(&self, target: SocketAddr, name: &str, days: i64) -> TlsDoor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = OffsetDateTime::now_utc() - Duration::days(10);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsDoor::open(target, TlsAcceptor::from(Arc::new(config))).await
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl TlsDoor {
    async fn open(target: SocketAddr, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // Who does not like the certificate hangs up, and who is done does as well.
                    let Ok(mut inside) = acceptor.accept(connection).await else { return };
                    let Ok(mut outside) = TcpStream::connect(target).await else { return };
                    let _ = copy_bidirectional(&mut inside, &mut outside).await;
                });
            }
        });
        Self { address, _server: server }
    }

    /// Its port, on this machine.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}
