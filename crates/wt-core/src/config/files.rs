//! Configurations in files, by serde.
//!
//! Numbers and switches are written as they are, everything else as the text that `set` takes. Reading is forgiving
//! about that: a time may be a number of seconds.

use std::{fmt, marker::PhantomData};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::text::Text;
use crate::tls::Identity;

/// Values as text.
pub(super) mod text {
    use super::*;

    pub(in crate::config) fn serialize<T: Text, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.write())
    }

    pub(in crate::config) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        deserializer.deserialize_any(Read(PhantomData))
    }

    struct Read<T>(PhantomData<T>);

    impl<T: Text> Read<T> {
        fn read<E: de::Error>(text: &str) -> Result<T, E> {
            T::read(text).map_err(|reason| E::custom(format_args!("{text:?}: {reason}")))
        }
    }

    impl<T: Text> de::Visitor<'_> for Read<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value as text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            Self::read(text)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            Self::read(&number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            Self::read(&number.to_string())
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
            Self::read(&number.to_string())
        }

        fn visit_unit<E: de::Error>(self) -> Result<T, E> {
            Self::read("none")
        }

        fn visit_none<E: de::Error>(self) -> Result<T, E> {
            Self::read("none")
        }
    }
}

/// Header fields as a map of their names; one that is there twice has a list.
pub(super) mod fields {
    use super::*;

    #[derive(Deserialize, Serialize)]
    #[serde(untagged)]
    enum Values {
        One(String),
        Many(Vec<String>),
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        headers: &HeaderMap,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(headers.keys_len()))?;
        for name in headers.keys() {
            let values = headers.get_all(name).into_iter();
            let text = values.map(|value| value.to_str().map(str::to_owned));
            let text: Result<Vec<_>, _> = text.collect();
            let text = text.map_err(|_| {
                serde::ser::Error::custom(format_args!("the header field {name} is no text"))
            })?;
            let values = match &text[..] {
                [one] => Values::One(one.clone()),
                _ => Values::Many(text),
            };
            map.serialize_entry(name.as_str(), &values)?;
        }
        map.end()
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HeaderMap, D::Error> {
        let map = std::collections::BTreeMap::<String, Values>::deserialize(deserializer)?;
        let mut headers = HeaderMap::new();
        for (name, values) in map {
            let values = match values {
                Values::One(value) => vec![value],
                Values::Many(values) => values,
            };
            let name: HeaderName = name
                .parse()
                .map_err(|error| de::Error::custom(format_args!("{name:?}: {error}")))?;
            for value in values {
                let value: HeaderValue = value
                    .parse()
                    .map_err(|error| de::Error::custom(format_args!("{name}: {error}")))?;
                headers.append(name.clone(), value);
            }
        }
        Ok(headers)
    }
}

/// Certificate and key as the names of their PEM files.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Files {
    certificate: std::path::PathBuf,
    key: std::path::PathBuf,
}

/// Written as the names of the files that it was read from; a private key is never written.
///
/// An identity that was made in memory cannot be written: put [`Identity::to_pem`] into files first.
impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((certificate, key)) = self.files() else {
            let reason = "an identity that was made in memory has no files: write Identity::to_pem to some, \
                          and read it by Identity::from_pem_files";
            return Err(serde::ser::Error::custom(reason));
        };
        let files = Files {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        files.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Files { certificate, key } = Files::deserialize(deserializer)?;
        Self::from_pem_files(certificate, key).map_err(de::Error::custom)
    }
}
