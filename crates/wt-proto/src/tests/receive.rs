//! What an end does with what arrives.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Endpoint, Net, Packet,
    endpoint::{Incoming, Role},
};
use crate::{
    Dir, ErrorCode, ProtocolViolation, SessionId, Side, StreamId,
    connection::{BiRole, Route, UniRole},
    datagram,
    stream_header::{BiHeader, UniHeader},
};

impl Endpoint {
    pub(crate) fn receive(&mut self, net: &mut Net, packet: Packet) {
        if !self.is_alive() {
            return;
        }
        let result = match packet {
            Packet::Close(code) => {
                self.closed = Some(code);
                Ok(())
            }
            Packet::Datagram(bytes) => self.receive_datagram(net, bytes),
            Packet::Data(id, bytes) => {
                let incoming = self.incoming(id);
                incoming.buf.extend_from_slice(&bytes);
                self.process(net, id)
            }
            Packet::Fin(id) => {
                self.incoming(id).fin = true;
                self.process(net, id)
            }
            Packet::Reset(id, code) => self.receive_reset(net, id, code),
            Packet::Stop(id, code) => self.receive_stop(net, id, code),
        };
        self.fail(net, result);
        self.pump(net);
    }

    pub(super) fn incoming(&mut self, id: StreamId) -> &mut Incoming {
        self.incoming.entry(id).or_insert_with(|| Incoming {
            role: Role::Unknown,
            buf: BytesMut::new(),
            fin: false,
        })
    }

    fn receive_datagram(&mut self, net: &Net, bytes: Bytes) -> Result<(), ProtocolViolation> {
        let (session, payload) = datagram::decode(bytes)?;
        match self.conn.handle_datagram(session, u64::MAX)? {
            Route::Deliver => self.datagrams.push((session, payload)),
            Route::Early => {
                self.early.push_datagram(session, payload, net.now);
            }
            Route::Reject(_) => {}
        }
        Ok(())
    }

    fn receive_reset(
        &mut self,
        net: &mut Net,
        id: StreamId,
        code: ErrorCode,
    ) -> Result<(), ProtocolViolation> {
        if self.incoming(id).fin {
            return Ok(());
        }
        let role = self.incoming(id).role;
        self.incoming(id).role = Role::Discard;
        match role {
            Role::Critical(which) => return Err(self.conn.handle_critical_end(which)),
            Role::Request => self.conn.handle_request_reset(id, code),
            Role::Session(_) => {
                self.streams.entry(id).or_default().reset = Some(code);
                self.end_half(net, id, false);
            }
            Role::Unknown if id.dir() == Dir::Bi => self.conn.handle_bidi_opened(id),
            Role::Unknown | Role::Discard => {}
        }
        Ok(())
    }

    fn receive_stop(
        &mut self,
        net: &mut Net,
        id: StreamId,
        code: ErrorCode,
    ) -> Result<(), ProtocolViolation> {
        if let Some(which) = self.critical.iter().find(|(_, known)| **known == id) {
            return Err(self.conn.handle_critical_end(*which.0));
        }
        if self.halves.contains_key(&id) {
            self.streams.entry(id).or_default().stopped = Some(code);
            if self.halves[&id].1 {
                self.reset(net, id, code);
            }
        } else {
            self.conn.handle_request_stopped(id, code);
        }
        Ok(())
    }

    /// Takes what can be taken of a stream.
    pub(super) fn process(&mut self, net: &mut Net, id: StreamId) -> Result<(), ProtocolViolation> {
        if self.stopped.contains(&id) {
            return Ok(());
        }
        if self.incoming(id).role == Role::Unknown {
            self.classify(net, id)?;
        }
        let Some(incoming) = self.incoming.get_mut(&id) else {
            return Ok(());
        };
        match incoming.role {
            Role::Unknown | Role::Discard => Ok(()),
            Role::Critical(which) => {
                let bytes = incoming.buf.split().freeze();
                let fin = incoming.fin;
                self.conn.handle_critical_data(which, bytes)?;
                if fin {
                    return Err(self.conn.handle_critical_end(which));
                }
                Ok(())
            }
            Role::Request => self.process_request(id),
            Role::Session(session) => {
                self.process_body(net, id, session);
                Ok(())
            }
        }
    }

    pub(super) fn process_request(&mut self, id: StreamId) -> Result<(), ProtocolViolation> {
        let Some(incoming) = self.incoming.get_mut(&id) else {
            return Ok(());
        };
        if !incoming.buf.is_empty() {
            if !self.conn.wants_request_data(id) {
                return Ok(());
            }
            let bytes = incoming.buf.split().freeze();
            self.conn.handle_request_data(id, bytes)?;
        }
        if incoming.fin && self.conn.wants_request_data(id) {
            incoming.role = Role::Discard;
            self.conn.handle_request_fin(id)?;
        }
        Ok(())
    }

    fn process_body(&mut self, net: &mut Net, id: StreamId, session: SessionId) {
        if self.conn.route(session) != Route::Deliver {
            return;
        }
        let flow = self.conn.flow(session);
        let Some(incoming) = self.incoming.get_mut(&id) else {
            return;
        };
        let bytes = incoming.buf.split();
        let fin = incoming.fin;
        let received = self.streams.entry(id).or_default();
        received.body.extend_from_slice(&bytes);
        received.fin |= fin;
        if let Some(flow) = flow {
            if let Err(violation) = flow.recv_data.arrive(bytes.len() as u64) {
                self.conn.handle_violation(session, violation);
                return;
            }
            if self.reading && flow.recv_data.consume(bytes.len() as u64) {
                self.conn.refresh_credit(session);
            }
        }
        if fin {
            self.end_half(net, id, false);
        }
    }

    /// Finds out what a new stream of the peer is.
    fn classify(&mut self, net: &mut Net, id: StreamId) -> Result<(), ProtocolViolation> {
        let incoming = self.incoming(id);
        let (buf, ended) = (incoming.buf.clone(), incoming.fin);
        let mut rest = &buf[..];
        let role = match id.dir() {
            Dir::Uni => match UniHeader::decode(&mut rest)? {
                Some(header) => match self.conn.handle_uni(header)? {
                    UniRole::Critical(which) => Role::Critical(which),
                    UniRole::WebTransport(session) => Role::Session(session),
                    UniRole::Discard(code) => {
                        self.turn_away(net, id, false, true, code);
                        Role::Discard
                    }
                },
                None => return Ok(()),
            },
            Dir::Bi => match BiHeader::decode(&mut rest)? {
                Some(header) => match self.conn.handle_bi(id, header, net.now)? {
                    BiRole::Request => Role::Request,
                    BiRole::WebTransport(session) => Role::Session(session),
                },
                None if ended && buf.is_empty() && self.side == Side::Server => {
                    self.conn.handle_request_opened(id, net.now);
                    Role::Request
                }
                None => return Ok(()),
            },
        };
        let read = buf.len() - rest.len();
        let incoming = self.incoming(id);
        incoming.buf.advance(read);
        incoming.role = role;
        if let Role::Session(session) = role {
            self.place(net, id, session);
        }
        Ok(())
    }

    /// Brings a stream of the peer to its session.
    pub(super) fn place(&mut self, net: &mut Net, id: StreamId, session: SessionId) {
        let bi = id.dir() == Dir::Bi;
        match self.conn.accept_stream(session, id.dir()) {
            Route::Deliver => {
                self.accepted.push((session, id));
                self.halves.insert(id, (session, bi, true));
            }
            Route::Early => {
                let bytes = self.incoming(id).buf.len();
                if let Err(id) = self.early.push_stream(session, id, bytes, net.now) {
                    let code = ErrorCode::WT_BUFFERED_STREAM_REJECTED;
                    self.turn_away(net, id, bi, true, code);
                }
            }
            Route::Reject(code) => self.turn_away(net, id, bi, true, code),
        }
    }
}
