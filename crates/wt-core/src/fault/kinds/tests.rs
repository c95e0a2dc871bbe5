use std::{error::Error, io, time::Duration};

use http::HeaderMap;

use super::*;
use crate::{
    Initiator,
    events::Lagged,
    fault::{category_of, is_fatal, is_retriable},
};

/// The category, whether to try again and whether it is fatal, in one text.
fn of(fault: &dyn Fault) -> String {
    let retriable = if fault.is_retriable() {
        " retriable"
    } else {
        ""
    };
    let fatal = if fault.is_fatal() { " fatal" } else { "" };
    format!("{}{retriable}{fatal}", fault.category())
}

fn tls(alert: u8) -> ConnectionError {
    ConnectionError::Tls {
        alert,
        by: Initiator::Local,
        reason: String::new(),
    }
}

fn closed(code: ErrorCode) -> ConnectionError {
    ConnectionError::ClosedByPeer {
        code,
        reason: String::new(),
    }
}

fn refused(status: u16) -> ConnectError {
    ConnectError::Refused {
        status: StatusCode::from_u16(status).unwrap(),
        headers: Box::new(HeaderMap::new()),
    }
}

#[test]
fn every_error_has_its_category_and_says_whether_to_try_again() {
    let violation = ProtocolViolation::FrameMalformed;
    let session = SessionError::Connection(ConnectionError::TimedOut);
    let cases: Vec<(Box<dyn Fault>, &str)> = vec![
        (Box::new(violation), "protocol fatal"),
        (
            Box::new(ProtocolViolation::DataLimitExceeded),
            "flow_control fatal",
        ),
        (Box::new(ConnectionError::TimedOut), "timeout retriable"),
        (Box::new(ConnectionError::Reset), "connection retriable"),
        (Box::new(ConnectionError::LocallyClosed), "connection"),
        (
            Box::new(closed(ErrorCode::H3_NO_ERROR)),
            "connection retriable",
        ),
        (
            Box::new(closed(ErrorCode::H3_EXCESSIVE_LOAD)),
            "connection retriable",
        ),
        (Box::new(closed(ErrorCode::H3_FRAME_ERROR)), "connection"),
        (
            Box::new(ConnectionError::Violation(violation)),
            "protocol fatal",
        ),
        (Box::new(tls(45)), "certificate fatal"),
        (Box::new(tls(116)), "authentication fatal"),
        (Box::new(tls(120)), "handshake fatal"),
        (
            Box::new(SessionError::Aborted(ErrorCode::H3_REQUEST_CANCELLED)),
            "session",
        ),
        (Box::new(session.clone()), "timeout retriable"),
        (Box::new(refused(403)), "authentication fatal"),
        (Box::new(refused(404)), "handshake"),
        (Box::new(refused(429)), "handshake retriable"),
        (Box::new(refused(503)), "server retriable"),
        (Box::new(refused(501)), "server"),
        (
            Box::new(ConnectError::Rejected(ErrorCode::H3_REQUEST_REJECTED)),
            "server retriable",
        ),
        (
            Box::new(ConnectError::TimedOut(Duration::ZERO)),
            "timeout retriable",
        ),
        (
            Box::new(ConnectError::Unavailable(CannotConnect::GoingAway)),
            "connection retriable",
        ),
        (
            Box::new(ConnectError::Unavailable(CannotConnect::Unsupported)),
            "connection fatal",
        ),
        (
            Box::new(ConnectError::InvalidRequest(String::new())),
            "client fatal",
        ),
        (Box::new(BindError::NoRuntime), "server fatal"),
        (Box::new(ReadError::Closed), "stream"),
        (
            Box::new(ReadError::Session(session.clone())),
            "timeout retriable",
        ),
        (
            Box::new(WriteError::Stopped(ErrorCode::H3_NO_ERROR)),
            "stream",
        ),
        (Box::new(ReadExactError::FinishedEarly(1)), "stream"),
        (Box::new(ReadToEndError::TooLong(1)), "stream"),
        (Box::new(ReadUntilError::TooLong(1)), "stream"),
        (Box::new(StopError(session.clone())), "timeout retriable"),
        (Box::new(SendDatagramError::Unsupported), "datagram"),
        (Box::new(AnswerError::Status(StatusCode::OK)), "server"),
        (Box::new(ExportError::TooLong(256)), "client"),
        (Box::new(TlsError::NoRoots), "certificate fatal"),
        (
            Box::new(CertificateRefused::KeyNotP256),
            "certificate fatal",
        ),
        (Box::new(InvalidHash), "configuration"),
        (
            Box::new(WaitError::TimedOut(Duration::ZERO)),
            "timeout retriable",
        ),
        (Box::new(WaitError::Lagged(Lagged(1))), "unknown"),
    ];
    for (fault, expected) in cases {
        assert_eq!(of(fault.as_ref()), expected, "{fault}");
    }
}

#[test]
fn errors_are_found_behind_others() {
    let wrapped = io::Error::from(ReadError::Session(SessionError::Connection(
        ConnectionError::TimedOut,
    )));
    let error: &(dyn Error + 'static) = &wrapped;
    assert_eq!(category_of(error), Category::Timeout);
    assert!(is_retriable(error) && !is_fatal(error));
    let foreign = io::Error::other("foreign");
    assert_eq!(category_of(&foreign), Category::Unknown);
    assert!(!is_retriable(&foreign) && is_fatal(&foreign));
}

#[test]
fn an_error_shows_as_names_and_values() {
    let error = SendDatagramError::TooLarge { size: 9, max: 8 };
    let fields = error.fields();
    assert!(
        fields.contains(&("category", "datagram".to_owned())),
        "{fields:?}"
    );
    assert!(
        fields.contains(&("message", error.to_string())),
        "{fields:?}"
    );
    let error = BindError::Socket {
        address: ([127, 0, 0, 1], 1).into(),
        source: io::Error::from(io::ErrorKind::PermissionDenied),
    };
    let causes = error
        .fields()
        .into_iter()
        .filter(|(name, _)| *name == "cause");
    assert_eq!(causes.count(), 1);
}

/// The numbers that PyWebTransport 0.8 gives errors of each kind.
#[test]
fn categories_have_their_numbers() {
    let all = [
        (Category::Authentication, 0x1001),
        (Category::Certificate, 0x1001),
        (Category::Client, 0x1004),
        (Category::Configuration, 0x1004),
        (Category::Connection, 0x2),
        (Category::Datagram, 0x1),
        (Category::FlowControl, 0x3),
        (Category::Handshake, 0x1),
        (Category::Protocol, 0xa),
        (Category::Serialization, 0x1),
        (Category::Server, 0x1005),
        (Category::Session, 0x1),
        (Category::Stream, 0x5),
        (Category::Timeout, 0x1000),
        (Category::Unknown, 0x1),
    ];
    for (category, code) in all {
        assert_eq!(category.default_code(), code, "{category}");
    }
}
