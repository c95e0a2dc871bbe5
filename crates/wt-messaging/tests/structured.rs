//! Messages on streams and in datagrams.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::{pair, within};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use wt_core::{
    ReadError, WriteError,
    fault::{Category, Fault as _},
};
use wt_datagram::{DatagramTransport, Priority, SendOptions};
use wt_messaging::{
    messages,
    serializer::{Json, MessagePack, Protobuf, Serializer},
    structured::{
        DatagramRecvError, DatagramSendError, Dynamic, MessageError, RecvError, Registry,
        RegistryError, SendError, StructuredDatagramTransport, StructuredRecv, StructuredSend,
        StructuredStream, UnknownType,
    },
};

/// The type of PyWebTransport's own tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct UserData {
    id: u32,
    name: String,
    email: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StatusUpdate {
    status: String,
    timestamp: f64,
}

messages! {
    #[derive(Clone, Debug, PartialEq)]
    enum Message {
        User(UserData) = 1,
        Status(StatusUpdate) = 2,
    }
}

messages! {
    /// What a newer version of the program has as well.
    #[derive(Clone, Debug, PartialEq)]
    enum Newer {
        User(UserData) = 1,
        Extra(Vec<u64>) = 7,
    }
}

fn user() -> UserData {
    UserData {
        id: 1,
        name: "test".to_owned(),
        email: "é@x".to_owned(),
    }
}

fn status(text: &str) -> StatusUpdate {
    StatusUpdate {
        status: text.to_owned(),
        timestamp: 1.5,
    }
}

/// A frame as the wire has it.
fn frame(type_id: u16, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&type_id.to_be_bytes()[..], &len.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn frames_have_the_bytes_of_pywebtransport() {
    let pair = pair().await;
    let json = b"\x00\x01\x00\x00\x00\x2e{\"id\": 1, \"name\": \"test\", \"email\": \"\\u00e9@x\"}";
    let packed = b"\x00\x01\x00\x00\x00\x1a\x83\xa2id\x01\xa4name\xa4test\xa5email\xa4\xc3\xa9@x";

    let (mut raw, stream) = pair.stream().await;
    let mut stream = StructuredStream::<Message>::new(stream, Json::new());
    within(stream.send(user())).await.unwrap();
    within(stream.finish()).await.unwrap();
    let sent = within(raw.recv.read_to_end(1000)).await.unwrap();
    assert_eq!(sent, &json[..]);
    within(raw.send.write_all(json)).await.unwrap();
    assert_eq!(within(stream.recv()).await.unwrap(), Some(user().into()));

    let (mut raw, stream) = pair.stream().await;
    let mut stream = StructuredStream::<Message, _>::new(stream, MessagePack::new());
    within(stream.send(user())).await.unwrap();
    within(stream.finish()).await.unwrap();
    let sent = within(raw.recv.read_to_end(1000)).await.unwrap();
    assert_eq!(sent, &packed[..]);
    within(raw.send.write_all(packed)).await.unwrap();
    assert_eq!(within(stream.recv()).await.unwrap(), Some(user().into()));
}

#[tokio::test]
async fn messages_go_both_ways_until_the_end() {
    let pair = pair().await;
    let mut client = within(StructuredStream::<Message>::open(&pair.client, Json::new()))
        .await
        .unwrap();
    within(client.send(user())).await.unwrap();
    let mut server = within(StructuredStream::<Message>::accept(
        &pair.server,
        Json::new(),
    ))
    .await
    .unwrap();
    assert_eq!(server.id(), client.id());
    assert_eq!(
        within(server.recv()).await.unwrap(),
        Some(Message::User(user()))
    );
    for text in ["one", "two"] {
        within(server.send(status(text))).await.unwrap();
    }
    within(server.finish()).await.unwrap();
    for text in ["one", "two"] {
        let message = within(client.recv()).await.unwrap();
        assert_eq!(message, Some(Message::Status(status(text))));
    }
    assert_eq!(within(client.recv()).await.unwrap(), None);
    assert_eq!(within(client.recv()).await.unwrap(), None);
    within(client.send(status("still open this way")))
        .await
        .unwrap();
    within(client.finish()).await.unwrap();
    assert!(within(server.recv()).await.unwrap().is_some());
    assert_eq!(within(server.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn streams_are_streams_and_sinks() {
    let pair = pair().await;
    let (server, client) = pair.stream().await;
    let mut server = StructuredStream::<Message, _>::new(server, MessagePack::new());
    let mut client = StructuredStream::<Message, _>::new(client, MessagePack::new());
    // Some 5 MB, more than fits into windows and buffers, so that it has to wait for the reader.
    let sending = async {
        for n in 0..50 {
            let message = status(&"x".repeat(100_000 + n));
            SinkExt::feed(&mut client, Message::Status(message))
                .await
                .unwrap();
        }
        SinkExt::close(&mut client).await.unwrap();
    };
    let receiving = async {
        let mut sizes = Vec::new();
        while let Some(message) = server.next().await {
            let Message::Status(status) = message.unwrap() else {
                panic!("of another type");
            };
            sizes.push(status.status.len());
        }
        sizes
    };
    let ((), sizes) = within(async { tokio::join!(sending, receiving) }).await;
    assert_eq!(sizes, (100_000..100_050).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_way_streams_carry_messages() {
    let pair = pair().await;
    let send = within(pair.client.open_uni()).await.unwrap();
    let mut send = StructuredSend::<Message, _>::new(send, Json::new());
    within(send.send_ref(&Message::User(user()))).await.unwrap();
    within(send.finish()).await.unwrap();
    let recv = within(pair.server.accept_uni()).await.unwrap();
    let mut recv = StructuredRecv::<Message, _>::new(recv, Json::new());
    assert_eq!(within(recv.recv()).await.unwrap(), Some(user().into()));
    assert_eq!(within(recv.recv()).await.unwrap(), None);
    within(send.closed()).await.unwrap();
}

#[tokio::test]
async fn unknown_types_are_skipped_and_the_stream_stays_in_step() {
    let pair = pair().await;
    let (server, client) = pair.stream().await;
    let mut newer = StructuredStream::<Newer>::new(client, Json::new());
    let mut older = StructuredStream::<Message>::new(server, Json::new());
    within(newer.send(vec![1, 2, 3])).await.unwrap();
    within(newer.send(user())).await.unwrap();
    within(newer.send(vec![7; 100_000])).await.unwrap();
    within(newer.send(user())).await.unwrap();
    within(newer.finish()).await.unwrap();

    for skipped in [9, 300_000] {
        let error = within(older.recv()).await.unwrap_err();
        assert!(!error.is_end(), "{error}");
        assert!(
            matches!(error, RecvError::UnknownType { type_id: 7, size } if size == skipped),
            "{error}"
        );
        assert_eq!(within(older.recv()).await.unwrap(), Some(user().into()));
    }
    assert_eq!(within(older.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn messages_that_cannot_be_read_cost_only_themselves() {
    let pair = pair().await;
    let (server, mut client) = pair.stream().await;
    let mut server = StructuredStream::<Message>::new(server, Json::new());
    let good = Json::new().encode(&user()).unwrap();
    let bytes = [frame(1, b"{\"id\": 1}"), frame(2, b""), frame(1, &good)].concat();
    within(client.send.write_all(&bytes)).await.unwrap();
    for bad in [1, 2] {
        let error = within(server.next()).await.unwrap().unwrap_err();
        assert!(
            matches!(&error, RecvError::Decode { type_id, .. } if *type_id == bad),
            "{error}"
        );
        assert!(!error.is_end());
    }
    assert_eq!(within(server.next()).await.unwrap().unwrap(), user().into());
}

#[tokio::test]
async fn too_large_a_message_is_not_sent() {
    let pair = pair().await;
    let (server, client) = pair.stream().await;
    let mut server = StructuredStream::<Message>::new(server, Json::new());
    let mut client = StructuredStream::<Message>::new(client, Json::new()).max_message_size(100);
    let error = within(client.send(status(&"x".repeat(100))))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            SendError::Message(MessageError::TooLarge {
                type_id: 2,
                size: 132,
                max: 100
            })
        ),
        "{error}"
    );
    within(client.send(user())).await.unwrap();
    assert_eq!(within(server.recv()).await.unwrap(), Some(user().into()));

    // Exactly as large as allowed.
    within(client.send(status(&"x".repeat(68)))).await.unwrap();
    assert!(within(server.recv()).await.unwrap().is_some());

    // The default is 1 MiB.
    let mut client = StructuredStream::<Message>::open(&pair.client, Json::new())
        .await
        .unwrap();
    let error = within(client.send(status(&"x".repeat(1 << 20))))
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("at most 1048576 are allowed"),
        "{error}"
    );
}

#[tokio::test]
async fn too_large_a_message_ends_the_stream_by_its_length_alone() {
    let pair = pair().await;
    let (server, mut client) = pair.stream().await;
    let mut server = StructuredStream::<Message>::new(server, Json::new()).max_message_size(100);
    let head = [0, 1, 0, 0, 0, 101];
    within(client.send.write_all(&head)).await.unwrap();
    for _ in 0..2 {
        let error = within(server.recv()).await.unwrap_err();
        assert!(error.is_end());
        assert!(
            matches!(
                error,
                RecvError::TooLarge {
                    type_id: 1,
                    size: 101,
                    max: 100
                }
            ),
            "{error}"
        );
    }
    assert!(within(server.next()).await.is_none());
    // Both halves are aborted with code 0, as in PyWebTransport.
    let error = within(client.send.closed()).await.unwrap_err();
    assert_eq!(error.code(), Some(0), "{error}");
    let error = within(client.recv.read_chunk(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(0), "{error}");
}

#[tokio::test]
async fn an_end_within_a_message_is_an_error() {
    let whole = frame(1, &Json::new().encode(&user()).unwrap());
    let pair = pair().await;
    for len in 1..whole.len() {
        let (server, mut client) = pair.stream().await;
        let mut server = StructuredStream::<Message>::new(server, Json::new());
        within(client.send.write_all(&whole[..len])).await.unwrap();
        client.send.finish().unwrap();
        let error = within(server.recv()).await.unwrap_err();
        assert!(matches!(error, RecvError::EndedEarly), "{len}: {error}");
        assert!(error.is_end());
    }
    let (server, mut client) = pair.stream().await;
    let mut server = StructuredStream::<Message>::new(server, Json::new());
    within(client.send.write_all(&whole[..9])).await.unwrap();
    client.send.reset(5);
    let error = within(server.recv()).await.unwrap_err();
    assert!(
        matches!(&error, RecvError::Read(ReadError::Reset(code)) if code.to_application() == Some(5)),
        "{error}"
    );
}

#[tokio::test]
async fn a_half_read_message_survives_cancellation() {
    let pair = pair().await;
    let (server, mut client) = pair.stream().await;
    let mut server = StructuredStream::<Message>::new(server, Json::new());
    let bytes = frame(1, &Json::new().encode(&user()).unwrap());
    for piece in bytes.chunks(5) {
        // Long enough for some pieces to arrive while somebody waits; the message comes out whole
        // however many of these waits read a part of it.
        let read = tokio::time::timeout(Duration::from_millis(2), server.recv());
        assert!(read.await.is_err(), "the message is not whole yet");
        within(client.send.write_all(piece)).await.unwrap();
    }
    assert_eq!(within(server.recv()).await.unwrap(), Some(user().into()));
}

#[tokio::test]
async fn a_half_sent_message_survives_cancellation() {
    let pair = pair().await;
    let (server, client) = pair.stream().await;
    let mut server =
        StructuredStream::<Message>::new(server, Json::new()).max_message_size(1 << 24);
    let mut client =
        StructuredStream::<Message>::new(client, Json::new()).max_message_size(1 << 24);
    // Larger than the window of the stream, so a part of it waits for a reader who is not there yet.
    let large = status(&"x".repeat(4 << 20));
    let sending = tokio::time::timeout(Duration::from_millis(100), client.send(large.clone()));
    assert!(sending.await.is_err(), "nobody reads yet");
    let sending = async {
        client.send(user()).await.unwrap();
        client.finish().await.unwrap();
    };
    let receiving = async {
        assert_eq!(server.recv().await.unwrap(), Some(large.into()));
        assert_eq!(server.recv().await.unwrap(), Some(user().into()));
        assert_eq!(server.recv().await.unwrap(), None);
    };
    within(async { tokio::join!(sending, receiving) }).await;
}

#[tokio::test]
async fn a_stopped_stream_says_so() {
    let pair = pair().await;
    let (server, client) = pair.stream().await;
    let mut server = StructuredStream::<Message>::new(server, Json::new());
    let mut client = StructuredStream::<Message>::new(client, Json::new());
    within(client.send(user())).await.unwrap();
    server.abort(9);
    let error = within(client.recv()).await.unwrap_err();
    assert!(error.is_end());
    let stopped = within(async {
        loop {
            if let Err(error) = client.send(user()).await {
                break error;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        matches!(&stopped, SendError::Write(WriteError::Stopped(code)) if code.to_application() == Some(9)),
        "{stopped}"
    );
}

fn registry() -> Arc<Registry<Json>> {
    let mut registry = Registry::new(Json::new());
    registry.register::<UserData>(1).unwrap();
    registry.register::<StatusUpdate>(2).unwrap();
    Arc::new(registry)
}

#[tokio::test]
async fn types_may_be_registered_while_the_program_runs() {
    let pair = pair().await;
    let (server, client) = pair.stream().await;
    let registry = registry();
    let mut dynamic = StructuredStream::<Dynamic, _>::new(server, registry.clone());
    let mut typed = StructuredStream::<Newer>::new(client, Json::new());

    within(dynamic.send(Dynamic::new(user()))).await.unwrap();
    assert_eq!(within(typed.recv()).await.unwrap(), Some(user().into()));
    let error = within(dynamic.send(Dynamic::new(7_u8))).await.unwrap_err();
    assert!(
        matches!(
            error,
            SendError::Message(MessageError::UnknownType(UnknownType::Name("u8")))
        ),
        "{error}"
    );

    within(typed.send(vec![1])).await.unwrap();
    within(typed.send(user())).await.unwrap();
    let error = within(dynamic.recv()).await.unwrap_err();
    assert!(
        matches!(error, RecvError::UnknownType { type_id: 7, .. }),
        "{error}"
    );
    let message = within(dynamic.recv()).await.unwrap().unwrap();
    assert!(message.downcast_ref::<StatusUpdate>().is_none());
    assert!(message.name().ends_with("UserData"));
    let message = message.downcast::<StatusUpdate>().unwrap_err();
    assert_eq!(message.downcast::<UserData>().unwrap(), user());
}

#[test]
fn a_registry_takes_each_number_and_each_type_once() {
    let mut registry = Registry::new(MessagePack::new());
    registry
        .register::<u8>(1)
        .unwrap()
        .register::<u16>(65535)
        .unwrap();
    let error = registry.register::<u32>(1).err();
    let taken = RegistryError::NumberTaken {
        type_id: 1,
        name: "u32",
        other: "u8",
    };
    assert_eq!(error, Some(taken));
    let error = registry.register::<u8>(2).err().unwrap();
    assert_eq!(error.to_string(), "u8 cannot have the number 2, it has 1");
}

#[derive(Clone, PartialEq, prost::Message)]
struct Position {
    #[prost(uint32, tag = "1")]
    player: u32,
    #[prost(bytes = "bytes", tag = "2")]
    blob: Bytes,
}

messages! {
    #[derive(Clone, Debug, PartialEq)]
    enum Game {
        Position(Position) = 0x102,
    }
}

#[tokio::test]
async fn protobuf_messages_go_the_same_way() {
    let pair = pair().await;
    let (mut raw, stream) = pair.stream().await;
    let mut stream = StructuredStream::<Game, _>::new(stream, Protobuf::new());
    let position = Position {
        player: 150,
        blob: Bytes::from_static(b"ab"),
    };
    let bytes = frame(0x102, b"\x08\x96\x01\x12\x02ab");
    within(stream.send(position.clone())).await.unwrap();
    within(stream.finish()).await.unwrap();
    assert_eq!(within(raw.recv.read_to_end(100)).await.unwrap(), bytes);
    within(raw.send.write_all(&bytes)).await.unwrap();
    assert_eq!(within(stream.recv()).await.unwrap(), Some(position.into()));
}

#[tokio::test]
async fn datagrams_have_the_bytes_of_pywebtransport() {
    let pair = pair().await;
    let datagrams =
        StructuredDatagramTransport::<Message, _>::new(pair.server.clone(), Json::new());
    let bytes = b"\x00\x01{\"id\": 1, \"name\": \"test\", \"email\": \"\\u00e9@x\"}";
    within(datagrams.send(user())).await.unwrap();
    assert_eq!(
        within(pair.client.recv_datagram()).await.unwrap(),
        &bytes[..]
    );
    pair.client.send_datagram(bytes).unwrap();
    assert_eq!(within(datagrams.recv()).await.unwrap(), user().into());
}

#[tokio::test]
async fn datagrams_that_are_no_messages_cost_only_themselves() {
    let pair = pair().await;
    let datagrams =
        StructuredDatagramTransport::<Message, _>::new(pair.server.clone(), Json::new())
            .max_message_size(100);
    for bytes in [&b""[..], b"\x00", b"\x00\x07abc", b"\x00\x01{}", &[0; 103]] {
        pair.client.send_datagram(bytes).unwrap();
    }
    let good = StructuredDatagramTransport::<Message, _>::new(pair.client.clone(), Json::new());
    good.try_send(user()).unwrap();
    let mut incoming = std::pin::pin!(datagrams.incoming());
    let mut errors = Vec::new();
    let message = loop {
        match within(incoming.next()).await.unwrap() {
            Ok(message) => break message,
            Err(error) => errors.push(error),
        }
    };
    assert_eq!(message, user().into());
    use DatagramRecvError as E;
    assert!(
        matches!(
            &errors[..],
            [
                E::TooShort(0),
                E::TooShort(1),
                E::UnknownType {
                    type_id: 7,
                    size: 3
                },
                E::Decode { type_id: 1, .. },
                E::TooLarge {
                    type_id: 0,
                    size: 101,
                    max: 100
                },
            ]
        ),
        "{errors:?}"
    );
    assert!(errors.iter().all(|error| !error.is_end()));
}

#[tokio::test]
async fn datagrams_say_what_fits() {
    let pair = pair().await;
    let datagrams =
        StructuredDatagramTransport::<Message, _>::new(pair.client.clone(), Json::new());
    let max = datagrams.max_size().unwrap();
    assert_eq!(Some(max + 2), pair.client.max_datagram_size());
    let error = within(datagrams.send(status(&"x".repeat(max))))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            DatagramSendError::Datagram(wt_core::SendDatagramError::TooLarge { .. })
        ),
        "{error}"
    );
    let small = datagrams.max_message_size(40);
    assert_eq!(small.max_size(), Some(40));
    let error = within(small.send(user())).await.unwrap_err();
    assert!(
        matches!(
            error,
            DatagramSendError::Message(MessageError::TooLarge { size: 46, .. })
        ),
        "{error}"
    );
    assert!(small.try_send(user()).is_err());
}

#[tokio::test]
async fn datagrams_are_streams_and_sinks_and_end_with_the_session() {
    let pair = pair().await;
    let server = StructuredDatagramTransport::<Dynamic, _>::new(pair.server.clone(), registry());
    let client = StructuredDatagramTransport::<Message, _>::new(pair.client.clone(), Json::new());
    let mut sink = std::pin::pin!(client.outgoing());
    for text in ["one", "two"] {
        within(sink.send(status(text).into())).await.unwrap();
    }
    let received: Vec<_> = within(server.incoming().take(2).collect::<Vec<_>>()).await;
    let texts = received
        .into_iter()
        .map(|m| m.unwrap().downcast::<StatusUpdate>().unwrap());
    assert_eq!(texts.map(|s| s.status).collect::<Vec<_>>(), ["one", "two"]);

    pair.client.close(3, "bye");
    let error = within(server.recv()).await.unwrap_err();
    assert!(error.is_end());
    assert!(
        matches!(&error, DatagramRecvError::Datagram(end) if end.code() == Some(3)),
        "{error}"
    );
    assert!(
        within(std::pin::pin!(server.incoming()).next())
            .await
            .is_none()
    );
    let error = within(server.send(Dynamic::new(user()))).await.unwrap_err();
    assert!(matches!(error, DatagramSendError::Datagram(_)), "{error}");
}

#[tokio::test]
async fn datagrams_may_have_priority_and_time_to_live() {
    let pair = pair().await;
    let open = |session: &wt_core::Session| {
        let transport = DatagramTransport::new(session.clone()).unwrap();
        StructuredDatagramTransport::<Message, _, _>::new(transport, Json::new())
    };
    let (server, client) = (open(&pair.server), open(&pair.client));
    let urgent = SendOptions::new()
        .priority(Priority::High)
        .ttl(Duration::from_secs(60));
    within(client.send_with(user(), urgent)).await.unwrap();
    assert_eq!(within(server.recv()).await.unwrap(), user().into());
    client.try_send(status("ordinary")).unwrap();
    let message = within(server.recv()).await.unwrap();
    assert_eq!(message, status("ordinary").into());
    assert_eq!(server.get_ref().stats().datagrams_received, 2);
}

#[tokio::test]
async fn errors_know_what_they_are_about() {
    let error = Json::new().read::<u8>(b"{").unwrap_err();
    assert_eq!(error.category(), Category::Serialization);
    assert!(!error.is_fatal() && !error.is_retriable());

    let pair = pair().await;
    let (server, mut client) = pair.stream().await;
    let mut server = StructuredStream::<Message>::new(server, Json::new());
    within(client.send.write_all(&frame(9, b""))).await.unwrap();
    let error = within(server.recv()).await.unwrap_err();
    assert_eq!(error.category(), Category::Serialization);
    client.send.reset(1);
    let error = within(server.recv()).await.unwrap_err();
    assert_eq!(error.category(), Category::Stream);
}
