//! The bytes of the serializers, and what they read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, error::Error as _};

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wt_messaging::serializer::{
    Json, MessagePack, NonFinite, Protobuf, Serializer, json::non_finite,
};

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    written(Json::new(), value).unwrap()
}

fn written<T: Serialize + ?Sized>(json: Json, value: &T) -> Result<String, String> {
    let mut out = bytes::BytesMut::new();
    match json.write(value, &mut out) {
        Ok(()) => Ok(String::from_utf8(out.to_vec()).unwrap()),
        Err(error) => Err(error.source().unwrap().to_string()),
    }
}

fn packed<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
    MessagePack::new().encode(value).unwrap().to_vec()
}

fn unpacked<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    MessagePack::new()
        .decode(Bytes::copy_from_slice(bytes))
        .map_err(|error| error.source().unwrap().to_string())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u32,
    name: String,
    email: String,
}

fn user() -> User {
    User {
        id: 1,
        name: "test".to_owned(),
        email: "é@x".to_owned(),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inventory {
    owner: User,
    items: Vec<Item>,
    by_name: BTreeMap<String, Item>,
    note: Option<String>,
    #[serde(default)]
    level: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    weight: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Sword,
    Shield,
}

fn inventory() -> Inventory {
    let sword = Item {
        weight: 1.5,
        kind: Kind::Sword,
    };
    Inventory {
        owner: user(),
        by_name: BTreeMap::from([("best".to_owned(), sword.clone())]),
        items: vec![sword],
        note: None,
        level: 3,
    }
}

/// What Python's `json.dumps` prints.
#[test]
fn json_is_written_as_python_does() {
    assert_eq!(
        json(&user()),
        r#"{"id": 1, "name": "test", "email": "\u00e9@x"}"#
    );
    assert_eq!(
        json(&(1, "a", [true, false], ())),
        r#"[1, "a", [true, false], null]"#
    );
    assert_eq!(json(&"\u{1f600}\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}/"), {
        r#""\ud83d\ude00\"\\\n\r\t\b\f\u0001\u007f/""#
    });
    assert_eq!(json::<[u8]>(&[]), "[]");
    assert_eq!(json(&BTreeMap::<String, u8>::new()), "{}");
    assert_eq!(json(&Kind::Shield), r#""Shield""#);
    assert_eq!(json(&i128::MIN), "-170141183460469231731687303715884105728");
    assert_eq!(json(&u64::MAX), "18446744073709551615");
    let nested = BTreeMap::from([("a", vec![Some(1), None])]);
    assert_eq!(json(&nested), r#"{"a": [1, null]}"#);
}

#[test]
fn json_floats_are_the_shortest_that_read_back() {
    for (value, text) in [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (1e-7, "1e-07"),
        (1.25e-10, "1.25e-10"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (1.5e300, "1.5e+300"),
        (123_456_789.123, "123456789.123"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
    ] {
        assert_eq!(json(&value), text);
        assert_eq!(Json::new().read::<f64>(text.as_bytes()).unwrap(), value);
    }
    assert_eq!(json(&0.1_f32), "0.1");
}

#[test]
fn json_keys_become_strings() {
    assert_eq!(json(&BTreeMap::from([(1, 2)])), r#"{"1": 2}"#);
    assert_eq!(json(&BTreeMap::from([(true, 2)])), r#"{"true": 2}"#);
    assert_eq!(json(&BTreeMap::from([((), 2)])), r#"{"null": 2}"#);
    assert_eq!(json(&BTreeMap::from([(None::<u8>, 2)])), r#"{"null": 2}"#);
    assert_eq!(json(&BTreeMap::from([('é', 2)])), r#"{"\u00e9": 2}"#);
    struct Float;
    impl Serialize for Float {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([(1.5, 2)])
        }
    }
    assert_eq!(json(&Float), r#"{"1.5": 2}"#);
    assert_eq!(
        written(Json::new(), &BTreeMap::from([((1, 2), 3)])),
        Err("a tuple cannot be the key of a member".to_owned())
    );
}

#[test]
fn json_has_options() {
    let value = (user(), Vec::<u8>::new());
    assert_eq!(
        written(Json::new().compact(true).ascii(false), &value).unwrap(),
        r#"[{"id":1,"name":"test","email":"é@x"},[]]"#
    );
    assert_eq!(
        written(Json::new().indent(2), &value).unwrap(),
        "[\n  {\n    \"id\": 1,\n    \"name\": \"test\",\n    \"email\": \"\\u00e9@x\"\n  },\n  []\n]"
    );
}

#[test]
fn json_escapes_wherever_it_has_to() {
    let short = [
        ('"', "\\\""),
        ('\\', "\\\\"),
        ('\n', "\\n"),
        ('\r', "\\r"),
        ('\t', "\\t"),
    ];
    let short: BTreeMap<_, _> = short
        .into_iter()
        .chain([('\x08', "\\b"), ('\x0c', "\\f")])
        .collect();
    let escape = |c: char| match (short.get(&c), c) {
        (Some(escaped), _) => (*escaped).to_owned(),
        (None, ' '..='~') => c.to_string(),
        _ => c
            .encode_utf16(&mut [0; 2])
            .iter()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect(),
    };
    for c in ('\0'..='\u{ff}').chain(['€', '😀']) {
        for before in 0..40 {
            let text = format!("{}{c}{}", "x".repeat(before), "é".repeat(before % 3));
            let expected: String = text.chars().map(escape).collect();
            assert_eq!(json(&text), format!("\"{expected}\""));
            let plain = written(Json::new().ascii(false), &text).unwrap();
            let control = |c: char| c < ' ' || c == '"' || c == '\\';
            let expected: String = text
                .chars()
                .map(|c| if control(c) { escape(c) } else { c.to_string() })
                .collect();
            assert_eq!(plain, format!("\"{expected}\""));
        }
    }
}

#[test]
fn json_variants_are_objects_with_one_member() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Shape {
        Empty,
        Circle(f64),
        Line(i8, i8),
        Box { width: u8 },
    }
    let shapes = [
        Shape::Empty,
        Shape::Circle(1.0),
        Shape::Line(1, -2),
        Shape::Box { width: 3 },
    ];
    let text = json(&shapes);
    assert_eq!(
        text,
        r#"["Empty", {"Circle": 1.0}, {"Line": [1, -2]}, {"Box": {"width": 3}}]"#
    );
    let back: [Shape; 4] = Json::new().read(text.as_bytes()).unwrap();
    assert_eq!(back, shapes);
}

#[test]
fn json_says_what_becomes_of_nan() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Reading {
        #[serde(with = "non_finite")]
        value: f64,
        name: String,
    }
    let reading = |value| Reading {
        value,
        name: "NaN \" Infinity".to_owned(),
    };
    let error = written(Json::new(), &reading(f64::NAN)).unwrap_err();
    assert!(
        error.starts_with("NaN is not a number that JSON has"),
        "{error}"
    );

    let null = Json::new().non_finite(NonFinite::Null);
    let text = written(null, &reading(f64::INFINITY)).unwrap();
    assert_eq!(text, r#"{"value": null, "name": "NaN \" Infinity"}"#);

    let words = Json::new().non_finite(NonFinite::Words);
    for (value, word) in [
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        let text = written(words, &reading(value)).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"value": {word}, "name": "NaN \" Infinity"}}"#)
        );
        let back: Reading = words.read(text.as_bytes()).unwrap();
        assert_eq!(back.value.total_cmp(&value), std::cmp::Ordering::Equal);
        assert_eq!(back.name, "NaN \" Infinity");
        assert!(Json::new().read::<Reading>(text.as_bytes()).is_err());
    }
    for text in [
        r#"{"value": -3, "name": ""}"#,
        r#"{"value": 3, "name": ""}"#,
    ] {
        assert_eq!(
            words.read::<Reading>(text.as_bytes()).unwrap().value.abs(),
            3.0
        );
    }
}

#[test]
fn json_is_read_in_every_encoding_of_unicode() {
    let text = r#"{"id": 1, "name": "test", "email": "é@x"}"#;
    let utf16: Vec<u16> = text.encode_utf16().collect();
    let utf32: Vec<u32> = text.chars().map(u32::from).collect();
    let be16 = || utf16.iter().flat_map(|unit| unit.to_be_bytes());
    let le16 = || utf16.iter().flat_map(|unit| unit.to_le_bytes());
    let be32 = || utf32.iter().flat_map(|unit| unit.to_be_bytes());
    let le32 = || utf32.iter().flat_map(|unit| unit.to_le_bytes());
    let with = |mark: &[u8], bytes: &mut dyn Iterator<Item = u8>| -> Vec<u8> {
        mark.iter().copied().chain(bytes).collect()
    };
    for bytes in [
        text.as_bytes().to_vec(),
        with(&[0xef, 0xbb, 0xbf], &mut text.bytes()),
        with(&[], &mut be16()),
        with(&[0xfe, 0xff], &mut be16()),
        with(&[], &mut le16()),
        with(&[0xff, 0xfe], &mut le16()),
        with(&[], &mut be32()),
        with(&[0, 0, 0xfe, 0xff], &mut be32()),
        with(&[], &mut le32()),
        with(&[0xff, 0xfe, 0, 0], &mut le32()),
    ] {
        assert_eq!(Json::new().read::<User>(&bytes).unwrap(), user());
    }
    assert_eq!(Json::new().read::<u8>(b"7\0").unwrap(), 7);
    let error = Json::new().read::<u8>(b"\xfe\xff\0").unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "the bytes are not UTF-16"
    );
}

/// What Python's `msgpack.packb` gives.
#[test]
fn message_pack_takes_the_shortest_forms() {
    let bytes = packed(&user());
    let expected = b"\x83\xa2id\x01\xa4name\xa4test\xa5email\xa4\xc3\xa9@x";
    assert_eq!(bytes, expected);
    #[derive(Serialize, Deserialize)]
    struct Example {
        a: u64,
        b: char,
    }
    assert_eq!(
        packed(&Example { a: 1, b: 'd' }),
        b"\x82\xa1a\x01\xa1b\xa1d"
    );
    for (value, bytes) in [
        (0_i64, &b"\x00"[..]),
        (127, b"\x7f"),
        (128, b"\xcc\x80"),
        (65535, b"\xcd\xff\xff"),
        (65536, b"\xce\x00\x01\x00\x00"),
        (1 << 32, b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        (-1, b"\xff"),
        (-32, b"\xe0"),
        (-33, b"\xd0\xdf"),
        (-129, b"\xd1\xff\x7f"),
        (-32769, b"\xd2\xff\xff\x7f\xff"),
        (i64::MIN, b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
    ] {
        assert_eq!(packed(&value), bytes, "{value}");
        assert_eq!(packed(&i128::from(value)), bytes, "{value}");
    }
    assert_eq!(packed(&1.5_f64), b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00");
    assert_eq!(packed(&1.5_f32), b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00");
    assert_eq!(
        packed(&(true, Some(false), None::<u8>)),
        b"\x93\xc3\xc2\xc0"
    );
    assert_eq!(
        packed(&BTreeMap::from([(1, "x".to_owned())])),
        b"\x81\x01\xa1x"
    );
    assert_eq!(packed(&Kind::Shield), b"\xa6Shield");
    assert_eq!(packed(&Blob(b"ab".to_vec())), b"\xc4\x02ab");
}

/// Bytes for serde, as `serde_bytes` and `bytes::Bytes` are.
#[derive(Debug, PartialEq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[test]
fn message_pack_refuses_what_it_cannot_say_or_read() {
    for value in [i128::from(i64::MIN) - 1, i128::from(u64::MAX) + 1] {
        let error = MessagePack::new().encode(&value).unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("more than 64 bits"), "{cause}");
    }
    assert!(MessagePack::new().encode(&u128::MAX).is_err());
    assert_eq!(unpacked::<Blob>(b"\xc4\x02ab"), Ok(Blob(b"ab".to_vec())));
    assert!(unpacked::<String>(b"\xa2\xff\xfe").is_err(), "not UTF-8");
    assert!(unpacked::<u8>(b"").is_err());
    assert_eq!(
        unpacked::<u8>(b"\x01\x02"),
        Err("1 bytes are left behind the value".to_owned())
    );
    // 4 GiB announced, nothing there: an error, and nothing is reserved for it.
    assert!(unpacked::<String>(b"\xdb\xff\xff\xff\xff").is_err());
    assert!(unpacked::<Vec<u64>>(b"\xdd\xff\xff\xff\xff").is_err());
}

#[test]
fn message_pack_may_leave_out_names() {
    let short = MessagePack::new().lists(true);
    let bytes = short.encode(&user()).unwrap();
    assert_eq!(&bytes[..], b"\x93\x01\xa4test\xa4\xc3\xa9@x");
    let back: User = MessagePack::new().decode(bytes).unwrap();
    assert_eq!(back, user());
}

#[derive(Clone, PartialEq, prost::Message)]
struct Position {
    #[prost(uint32, tag = "1")]
    player: u32,
    #[prost(float, tag = "2")]
    x: f32,
    #[prost(string, repeated, tag = "3")]
    tags: Vec<String>,
}

fn position() -> Position {
    Position {
        player: 150,
        x: 1.0,
        tags: vec!["a".to_owned(), "b".to_owned()],
    }
}

#[test]
fn protobuf_is_bare() {
    let bytes = Protobuf::new().encode(&position()).unwrap();
    let expected = b"\x08\x96\x01\x15\x00\x00\x80\x3f\x1a\x01a\x1a\x01b";
    assert_eq!(&bytes[..], expected);
    let back: Position = Protobuf::new().decode(bytes).unwrap();
    assert_eq!(back, position());
    let none: Position = Protobuf::new().decode(Bytes::new()).unwrap();
    assert_eq!(none, Position::default());
}

fn nested_records_come_back<S: Serializer<Inventory>>(serializer: &S) {
    let bytes = serializer.encode(&inventory()).unwrap();
    assert_eq!(serializer.decode(bytes).unwrap(), inventory());
}

#[test]
fn records_within_records_lists_and_maps_come_back() {
    nested_records_come_back(&Json::new());
    nested_records_come_back(&Json::new().compact(true).ascii(false));
    nested_records_come_back(&Json::new().indent(4));
    nested_records_come_back(&MessagePack::new());
    nested_records_come_back(&MessagePack::new().lists(true));
}

#[test]
fn unknown_members_are_ignored_and_missing_ones_take_their_defaults() {
    let text = r#"{"owner": {"id": 1, "name": "", "email": "", "shoe": 44}, "items": [],
        "by_name": {}, "new": [1, {"a": 2}]}"#;
    let read: Inventory = Json::new().read(text.as_bytes()).unwrap();
    assert_eq!((read.note, read.level), (None, 0));
    let bytes = b"\x84\xa2id\x01\xa4name\xa0\xa5email\xa0\xa4shoe\x92\x01\xc0";
    assert_eq!(unpacked::<User>(bytes).unwrap().id, 1);

    let error = Json::new()
        .read::<User>(br#"{"id": 1, "name": ""}"#)
        .unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.starts_with("missing field `email`"), "{cause}");
}

/// PyWebTransport converts, or passes on what it cannot convert.
#[test]
fn nothing_is_converted_to_another_type() {
    assert!(Json::new().read::<u8>(b"\"7\"").is_err());
    assert!(Json::new().read::<bool>(b"\"false\"").is_err());
    assert!(Json::new().read::<u8>(b"3.0").is_err());
    assert!(Json::new().read::<User>(b"7").is_err());
    assert!(Json::new().read::<User>(b"null").is_err());
    assert!(Json::new().read::<Kind>(b"\"Axe\"").is_err());
    assert!(unpacked::<u8>(b"\xa17").is_err());
    assert!(unpacked::<Blob>(b"\xce\x7f\xff\xff\xff").is_err());
    // Only integers become floats, which loses nothing that JSON knows of.
    assert_eq!(Json::new().read::<f64>(b"3").unwrap(), 3.0);
}

#[test]
fn errors_name_the_format_and_keep_the_cause() {
    let error = Json::new().read::<u8>(b"{").unwrap_err();
    assert_eq!(error.format(), "JSON");
    assert_eq!(
        error.to_string(),
        "the bytes are not the value expected in JSON"
    );
    assert!(error.source().unwrap().is::<serde_json::Error>());
    let copy = error.clone();
    assert_eq!(
        copy.source().unwrap().to_string(),
        error.source().unwrap().to_string()
    );

    let error = Json::new()
        .encode(&BTreeMap::from([((1, 2), 3)]))
        .unwrap_err();
    assert_eq!(error.to_string(), "the value has no form in JSON");
    let error = Serializer::<Position>::decode(&Protobuf::new(), Bytes::from_static(b"\x08"));
    assert!(
        error
            .unwrap_err()
            .source()
            .unwrap()
            .is::<prost::DecodeError>()
    );
    let error = written(Json::new(), &Blob(Vec::new())).unwrap_err();
    assert!(error.starts_with("JSON has no form for bytes"), "{error}");
}

/// A serializer of an application: one number, as text.
struct Decimal;

impl Serializer<u64> for Decimal {
    fn encode_to(
        &self,
        value: &u64,
        out: &mut bytes::BytesMut,
    ) -> Result<(), wt_messaging::serializer::EncodeError> {
        out.extend_from_slice(value.to_string().as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: Bytes) -> Result<u64, wt_messaging::serializer::DecodeError> {
        use wt_messaging::serializer::DecodeError;
        let text = str::from_utf8(&bytes).map_err(|e| DecodeError::new("decimal", e))?;
        text.parse()
            .map_err(|e: std::num::ParseIntError| DecodeError::new("decimal", e))
    }
}

#[test]
fn applications_bring_their_own() {
    let serializer: Box<dyn Serializer<u64>> = Box::new(Decimal);
    assert_eq!(&serializer.encode(&42).unwrap()[..], b"42");
    assert_eq!(serializer.decode(Bytes::from_static(b"42")).unwrap(), 42);
    let error = serializer.decode(Bytes::from_static(b"x")).unwrap_err();
    assert_eq!(error.format(), "decimal");
}

/// A value with all that JSON and MessagePack have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Nothing,
    Text(String),
    Number(i64),
    Float(f64),
    Branch(Vec<Self>),
    Map(BTreeMap<String, Self>),
    Pair {
        left: Option<bool>,
        right: Box<Self>,
    },
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Nothing),
        any::<String>().prop_map(Tree::Text),
        any::<i64>().prop_map(Tree::Number),
        proptest::num::f64::NORMAL.prop_map(Tree::Float),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::Branch),
            prop::collection::btree_map(any::<String>(), inner.clone(), 0..4).prop_map(Tree::Map),
            (any::<Option<bool>>(), inner).prop_map(|(left, right)| Tree::Pair {
                left,
                right: Box::new(right),
            }),
        ]
    })
}

/// What was written reads back as the same; no part of it reads as anything.
fn survives<T, S>(serializer: &S, value: &T) -> Result<(), TestCaseError>
where
    T: PartialEq + std::fmt::Debug,
    S: Serializer<T>,
{
    let bytes = serializer.encode(value).unwrap();
    for len in 0..bytes.len() {
        prop_assert!(serializer.decode(bytes.slice(..len)).is_err(), "{len}");
    }
    prop_assert_eq!(&serializer.decode(bytes).unwrap(), value);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_survives_and_no_truncation_does(tree in tree()) {
        let tree = Tree::Branch(vec![tree]);
        survives(&Json::new(), &tree)?;
        survives(&Json::new().compact(true).ascii(false), &tree)?;
        survives(&Json::new().indent(1), &tree)?;
    }

    #[test]
    fn message_pack_survives_and_no_truncation_does(tree in tree()) {
        survives(&MessagePack::new(), &tree)?;
        survives(&MessagePack::new().lists(true), &tree)?;
    }

    /// Fields of Protobuf may be missing, so a part of a message can be one.
    #[test]
    fn protobuf_survives_and_no_truncation_is_the_same(player: u32, x in -1e9_f32..1e9, tags: Vec<String>) {
        let position = Position { player, x, tags };
        let bytes = Protobuf::new().encode(&position).unwrap();
        for len in 0..bytes.len() {
            let part: Result<Position, _> = Protobuf::new().decode(bytes.slice(..len));
            prop_assert!(part.ok().as_ref() != Some(&position), "{}", len);
        }
        let back: Position = Protobuf::new().decode(bytes).unwrap();
        prop_assert_eq!(back, position);
    }

    #[test]
    fn nothing_panics_on_any_bytes(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _: Result<Tree, _> = Json::new().non_finite(NonFinite::Words).decode(bytes.clone());
        let _: Result<Tree, _> = MessagePack::new().decode(bytes.clone());
        let _: Result<Position, _> = Protobuf::new().decode(bytes);
    }
}
