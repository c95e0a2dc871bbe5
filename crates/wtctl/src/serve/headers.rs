//! Telling a client what it asked with.

use http::HeaderMap;
use serde_json::{Map, Value};
use wt::{Session, proto::head::RequestHead};

/// Writes the fields of a request, pseudo-header fields included, as a JSON object.
pub(super) fn to_json(head: &RequestHead) -> String {
    let pseudo = [
        (":method", Some(head.method.as_str())),
        (":scheme", head.scheme.as_deref()),
        (":authority", head.authority.as_deref()),
        (":path", head.path.as_deref()),
        (":protocol", head.protocol.as_deref()),
    ];
    let mut fields: Map<String, Value> = pseudo
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect();
    for name in head.headers.keys() {
        fields.insert(
            name.to_string(),
            joined(&head.headers, name.as_str()).into(),
        );
    }
    Value::Object(fields).to_string()
}

/// Joins the values of a field as RFC 9110, 5.3 and RFC 9114, 4.2.1 (for `cookie`) have it.
fn joined(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    values.join(if name == "cookie" { "; " } else { ", " })
}

/// Sends a text on a stream of its own.
pub(super) async fn send(session: Session, text: String) {
    let Ok(mut stream) = session.open_uni().await else {
        return;
    };
    if stream.write_all(text.as_bytes()).await.is_ok() {
        // It fails when the client does not listen.
        let _ = stream.finish();
    }
}
