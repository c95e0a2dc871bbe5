//! Queues, priority, expiry and reliability for WebTransport datagrams.
//!
//! This crate has no API yet. It will hold what goes beyond `Session::send_datagram`: a transport per
//! session with priority lanes, time to live and a counter for every drop, a reliability layer with
//! acknowledgements, and a broadcaster that shares one payload among many sessions.
