//! A client that speaks just enough HTTP/3 by hand to break the rules.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use wt_core::{ErrorCode, SessionId, tls::Identity};
use wt_proto::{
    VarInt,
    capsule::{Capsule, CapsuleReader},
    coding::Encode,
    frame::{self, Frame, FrameReader},
    head::{RequestHead, ResponseHead, UpgradeToken},
    settings::{Setting, Settings},
    stream_header,
};

use super::within;

/// A connection of which the test sees every byte.
pub struct RawClient {
    pub quic: quinn::Connection,
    /// Our critical streams, which must stay open.
    _critical: Vec<quinn::SendStream>,
    _endpoint: quinn::Endpoint,
}

/// A session of it.
pub struct RawSession {
    pub id: SessionId,
    pub status: StatusCode,
    pub send: quinn::SendStream,
    pub recv: quinn::RecvStream,
    frames: FrameReader,
    capsules: CapsuleReader,
}

/// What comes next on a CONNECT stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Capsule(Capsule),
    Fin,
    Reset(ErrorCode),
}

/// The SETTINGS of a client of the newest draft that wants flow control.
pub fn settings() -> Settings {
    let int = VarInt::from_u32;
    Settings::default()
        .with(Setting::SETTINGS_H3_DATAGRAM, int(1))
        .with(Setting::SETTINGS_WT_ENABLED, int(1))
        .with(Setting::SETTINGS_WT_INITIAL_MAX_DATA, int(1 << 20))
        .with(Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI, int(100))
        .with(Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI, int(100))
}

/// The settings of a QUIC that takes nearly everything.
pub fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .send_window(64 << 20)
        .max_concurrent_uni_streams(1000_u32.into());
    transport
}

/// Makes QUIC's configuration of a client that trusts `identity`.
fn client_config(identity: &Identity, transport: quinn::TransportConfig) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(identity.chain()[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(transport));
    config
}

impl RawClient {
    /// Connects and sends SETTINGS.
    pub async fn connect(address: SocketAddr, identity: &Identity, settings: &Settings) -> Self {
        Self::connect_with(address, identity, settings, transport()).await
    }

    /// Connects with other settings of QUIC.
    pub async fn connect_with(
        address: SocketAddr,
        identity: &Identity,
        settings: &Settings,
        transport: quinn::TransportConfig,
    ) -> Self {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut endpoint = quinn::Endpoint::client(local).unwrap();
        endpoint.set_default_client_config(client_config(identity, transport));
        let connecting = endpoint.connect(address, "localhost").unwrap();
        let quic = within(connecting).await.unwrap();
        let mut control = quic.open_uni().await.unwrap();
        let mut bytes = BytesMut::from(&[0][..]);
        settings.encode_frame(None, &mut bytes);
        control.write_all(&bytes).await.unwrap();
        Self {
            quic,
            _critical: vec![control],
            _endpoint: endpoint,
        }
    }

    /// Sends a CONNECT and waits for its answer.
    pub async fn session(&self) -> RawSession {
        let (mut send, recv) = within(self.quic.open_bi()).await.unwrap();
        let token = UpgradeToken::WebTransportH3;
        let head = RequestHead::webtransport("localhost", "/", token, HeaderMap::new());
        let (mut block, mut bytes) = (BytesMut::new(), BytesMut::new());
        head.encode(&mut block);
        frame::encode_headers(&block, &mut bytes);
        send.write_all(&bytes).await.unwrap();
        let mut session = RawSession {
            id: SessionId::new(u64::from(send.id())).unwrap(),
            status: StatusCode::PROCESSING,
            send,
            recv,
            frames: FrameReader::new(16 * 1024),
            capsules: CapsuleReader::new(),
        };
        within(session.read_answer()).await;
        session
    }

    /// Opens a stream of a session and writes its header.
    pub async fn open_uni(&self, session: &RawSession) -> quinn::SendStream {
        let mut send = within(self.quic.open_uni()).await.unwrap();
        let header = stream_header::encode_uni(session.id);
        send.write_all(header.as_slice()).await.unwrap();
        send
    }

    /// Opens a stream of a session and writes its header.
    pub async fn open_bi(&self, session: &RawSession) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, recv) = within(self.quic.open_bi()).await.unwrap();
        let header = stream_header::encode_bi(session.id);
        send.write_all(header.as_slice()).await.unwrap();
        (send, recv)
    }
}

impl RawSession {
    async fn read_answer(&mut self) {
        loop {
            match self.frames.next().unwrap() {
                Some(Frame::Headers(block)) => {
                    self.status = ResponseHead::decode(&block, 16 * 1024).unwrap().status;
                    return;
                }
                Some(_) => {}
                None => {
                    let chunk = self.recv.read_chunk(usize::MAX, true).await.unwrap();
                    self.frames.push(chunk.unwrap().bytes);
                }
            }
        }
    }

    /// Sends a capsule.
    pub async fn write(&mut self, capsule: &Capsule) {
        let (mut bytes, mut framed) = (BytesMut::new(), BytesMut::new());
        capsule.encode(&mut bytes);
        frame::encode_data(&bytes, &mut framed);
        self.send.write_all(&framed).await.unwrap();
    }

    /// Waits for the next capsule or the end.
    pub async fn next(&mut self) -> Next {
        within(async {
            loop {
                if let Some(capsule) = self.capsules.next().unwrap() {
                    return Next::Capsule(capsule);
                }
                match self.frames.next().unwrap() {
                    Some(Frame::Data(bytes)) => self.capsules.push(bytes),
                    Some(_) => {}
                    None => match self.recv.read_chunk(usize::MAX, true).await {
                        Ok(Some(chunk)) => self.frames.push(chunk.bytes),
                        Ok(None) => return Next::Fin,
                        Err(quinn::ReadError::Reset(code)) => {
                            return Next::Reset(ErrorCode::new(code.into_inner()).unwrap());
                        }
                        Err(error) => panic!("the connection went away: {error}"),
                    },
                }
            }
        })
        .await
    }

    /// Waits for the end, whatever capsules come before.
    pub async fn end(&mut self) -> Next {
        loop {
            match self.next().await {
                Next::Capsule(_) => {}
                end => return end,
            }
        }
    }
}

/// Returns the code with which the peer ended a stream that is read here.
pub async fn reset_code(recv: &mut quinn::RecvStream) -> ErrorCode {
    match within(recv.read_to_end(usize::MAX)).await {
        Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) => {
            ErrorCode::new(code.into_inner()).unwrap()
        }
        other => panic!("no reset: {other:?}"),
    }
}

/// Returns the code with which the peer stopped a stream that is written here.
pub async fn stop_code(send: &quinn::SendStream) -> ErrorCode {
    let code = within(send.stopped()).await.unwrap();
    ErrorCode::new(code.unwrap().into_inner()).unwrap()
}

/// Waits until the peer's QUIC has all of a finished stream, read or not.
pub async fn delivered(send: &quinn::SendStream) {
    assert_eq!(within(send.stopped()).await.unwrap(), None);
}

/// Writes as much as the peer's QUIC takes and finishes.
pub async fn write(send: &mut quinn::SendStream, bytes: Bytes) {
    within(send.write_chunk(bytes)).await.unwrap();
    send.finish().unwrap();
}
