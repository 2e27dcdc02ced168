//! An ingress that listens, the nats-server behind it, and a client.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bus::{Bus, CallError, Incoming, Passwords, Role, connection::CalloutConfig};
use bytes::Bytes;
use confique::Config as _;
use host::{
    Drain, Environment, Health, Telemetry,
    embedded::{Nats, NatsOptions, Search},
    telemetry,
};
use http::{HeaderMap, Request, StatusCode, header::HOST, request::Builder};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use identity::{Secret, Signer, Verifier};
use ingress::{Config, Limits, StartError, Vitals};
use tokio::net::TcpStream;
use wire::{Identity, Problem, Scope, SessionProof, UserId, operations};

/// Everything that a test needs; it ends with the test.
pub struct World {
    pub address: SocketAddr,
    pub health: Health,
    /// Of the ingress alone: tests that drain it keep their services.
    pub drain: Drain,
    /// Of the services and of the client.
    pub rest: Drain,
    pub user: UserId,
    nats: Nats,
    _dir: Dir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A folder that goes when the test ends.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The defaults, on a free port.
pub fn config() -> Config {
    let defaults = Config::builder().load().unwrap();
    Config { listen: "127.0.0.1:0".parse().unwrap(), ..defaults }
}

fn secret() -> Secret {
    Secret::new("0123456789abcdef0123456789abcdef".to_owned().into()).unwrap()
}

fn telemetry() -> Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    let config = telemetry::Config { format: telemetry::Format::Text, filter: "error".into() };
    TELEMETRY.get_or_init(|| telemetry::init(&config, &Environment::default()).unwrap()).clone()
}

impl World {
    pub async fn new() -> Self {
        Self::with(config()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::try_with(config).await.unwrap()
    }

    pub async fn try_with(config: Config) -> Result<Self, StartError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ingress-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Dir(std::env::temp_dir().join(name));
        let program = Search::from_environment().find_nats_server().await.unwrap();
        let nats = Nats::start(NatsOptions::new(program, dir.0.clone())).await.unwrap();
        let (drain, rest) = (Drain::new(), Drain::new());
        let health = Health::new(drain.clone());
        let bus = connect(&nats, Role::Ingress, &drain).await;
        let verifier = Verifier::new(&secret());
        let limits = Limits {
            logins_per_address_per_min: 30,
            registrations_per_address_per_min: 10,
            refreshes_per_address_per_min: 60,
            streams_per_user: 2,
            streams_per_node: 3,
            sockets_per_user: 2,
            sockets_per_node: 3,
            socket_messages_per_user_per_min: 200,
        };
        let address = ingress::start(
            &config,
            &limits,
            bus,
            verifier,
            Vitals { health: health.clone(), telemetry: telemetry() },
            &drain,
        )
        .await?;
        let world = Self { address, health, drain, rest, user: UserId::new(), nats, _dir: dir };
        world.let_everybody_in().await;
        Ok(world)
    }

    /// Plays the auth service, for which every session is open.
    async fn let_everybody_in(&self) {
        let bus = connect(&self.nats, Role::Auth, &self.rest).await;
        let answering = bus.clone();
        let take = move |incoming: Incoming| {
            let bus = answering.clone();
            async move {
                let proof: SessionProof = incoming.decode().unwrap();
                let identity = Identity {
                    user_id: proof.user_id,
                    scopes: Scope::ALL.to_vec(),
                    api_key_id: None,
                    session_id: proof.session_id,
                    expires_at: Some(proof.expires_at),
                };
                bus.reply(&incoming.reply_to, &identity).await;
            }
        };
        bus.subscribe_operation(&operations::CHECK_SESSION.info, take).await.unwrap();
        subscribed(&bus).await;
    }

    /// A connection to NATS on which a test plays a service.
    pub async fn service(&self) -> Bus {
        connect(&self.nats, Role::Chat, &self.rest).await
    }

    /// A request without a token.
    pub fn anonymous(&self, method: &str, path: &str) -> Builder {
        Request::builder().method(method).uri(path).header(HOST, self.address.to_string())
    }

    /// A request of the user.
    pub fn request(&self, method: &str, path: &str) -> Builder {
        self.request_of(self.user, method, path)
    }

    /// A request of this user.
    pub fn request_of(&self, user: UserId, method: &str, path: &str) -> Builder {
        let token = self.token(user);
        self.anonymous(method, path).header("authorization", format!("Bearer {token}"))
    }

    /// A token of this user.
    pub fn token(&self, user: UserId) -> String {
        Signer::new(&secret(), 60).sign(user, uuid::Uuid::now_v7()).unwrap()
    }

    /// An open connection.
    pub async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (client, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        self.rest.spawn("client", async {
            let _ = connection.await;
        });
        client
    }

    /// Sends a request on a connection of its own.
    pub async fn ask(&self, request: Builder, body: impl Into<Bytes>) -> Answer {
        send(&mut self.connect().await, request.body(body.into()).unwrap()).await
    }

    /// Sends a request of the user with a JSON body.
    pub async fn ask_json(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = self.request(method, path).header("content-type", "application/json");
        self.ask(request, body.to_owned()).await
    }
}

/// Sends a request on an open connection.
pub async fn send(client: &mut SendRequest<Full<Bytes>>, request: Request<Bytes>) -> Answer {
    client.ready().await.unwrap();
    let (head, body) = client.send_request(request.map(Full::new)).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// Returns when the server has all the subscriptions of `service`: it takes a connection's words in order, and this one
/// it answers.
pub async fn subscribed(service: &Bus) {
    let request = bus::Request {
        context: bus::Context::default(),
        body: Bytes::new(),
        key: None,
        timeout: Duration::from_secs(10),
    };
    let unserved = service.call(&operations::LOG_IN.info, &[], request).await;
    assert_eq!(unserved.err(), Some(CallError::NoResponders));
}

async fn connect(nats: &Nats, role: Role, drain: &Drain) -> Bus {
    let config = bus::Config {
        url: nats.url(),
        server_name: Some(nats.server_name().to_owned()),
        replicas: 1,
        passwords: Passwords::default(),
        callout: CalloutConfig::default(),
    };
    Bus::connect(&config, role, drain).await.unwrap()
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and code of a fault, which is a problem that names this very request.
    pub fn fault(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(problem.request_id.as_deref(), Some(self.header("x-request-id")));
        (problem.status, problem.code.as_str().to_owned())
    }
}
