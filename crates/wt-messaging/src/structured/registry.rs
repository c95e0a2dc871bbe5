//! Types of messages that are registered while the program runs.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{Codec, UnknownType};
use crate::serializer::{DecodeError, EncodeError, Serializer};

/// A message of any type.
pub struct Dynamic {
    value: Box<dyn Any + Send + Sync>,
    name: &'static str,
}

impl Dynamic {
    /// Makes a message of a value.
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self {
            value: Box::new(value),
            name: type_name::<T>(),
        }
    }

    /// Returns the value if it is of type `T`.
    #[must_use]
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        self.value.downcast_ref()
    }

    /// Returns the value if it is of type `T`.
    ///
    /// # Errors
    ///
    /// The message itself when it is of another type.
    pub fn downcast<T: Any>(self) -> Result<T, Self> {
        let name = self.name;
        match self.value.downcast() {
            Ok(value) => Ok(*value),
            Err(value) => Err(Self { value, name }),
        }
    }

    /// Returns the name of the type, for people to read.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dynamic({})", self.name)
    }
}

type Encode<S> = fn(&S, &Dynamic, &mut BytesMut) -> Result<(), EncodeError>;
type Decode<S> = fn(&S, Bytes) -> Result<Dynamic, DecodeError>;

/// The types of the messages of a stream, by number, and the serializer that writes them.
///
/// For programs that know their types only when they run; where one enum can hold all of them,
/// [`messages!`](crate::messages) checks more and costs less.
///
/// ```
/// use wt_messaging::{serializer::Json, structured::Registry};
///
/// let mut registry = Registry::new(Json::new());
/// registry.register::<String>(1)?;
/// registry.register::<Vec<u64>>(2)?;
/// assert!(registry.register::<String>(3).is_err(), "one number for each type");
/// # Ok::<(), wt_messaging::structured::RegistryError>(())
/// ```
pub struct Registry<S> {
    serializer: S,
    encoders: HashMap<TypeId, (u16, Encode<S>)>,
    decoders: HashMap<u16, (&'static str, Decode<S>)>,
}

/// Why a type could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The number stands for another type.
    #[error("{type_id} cannot stand for {name}, it stands for {other}")]
    NumberTaken {
        /// The number.
        type_id: u16,
        /// The type that was to be registered.
        name: &'static str,
        /// The type that the number stands for.
        other: &'static str,
    },
    /// The type has another number.
    #[error("{name} cannot have the number {type_id}, it has {other}")]
    TypeTaken {
        /// The number that it was to have.
        type_id: u16,
        /// The type.
        name: &'static str,
        /// The number that it has.
        other: u16,
    },
}

impl<S> Registry<S> {
    /// Returns a registry without types.
    pub fn new(serializer: S) -> Self {
        Self {
            serializer,
            encoders: HashMap::new(),
            decoders: HashMap::new(),
        }
    }

    /// Lets `type_id` stand for `T`.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when the number or the type is registered already.
    pub fn register<T>(&mut self, type_id: u16) -> Result<&mut Self, RegistryError>
    where
        T: Any + Send + Sync,
        S: Serializer<T>,
    {
        let name = type_name::<T>();
        if let Some((other, _)) = self.decoders.get(&type_id) {
            return Err(RegistryError::NumberTaken {
                type_id,
                name,
                other,
            });
        }
        if let Some((other, _)) = self.encoders.get(&TypeId::of::<T>()) {
            let other = *other;
            return Err(RegistryError::TypeTaken {
                type_id,
                name,
                other,
            });
        }
        let encode: Encode<S> = |serializer, message, out| match message.downcast_ref::<T>() {
            Some(value) => serializer.encode_to(value, out),
            None => Err(EncodeError::new("this registry", "another type")),
        };
        let decode: Decode<S> =
            |serializer, payload| serializer.decode(payload).map(Dynamic::new::<T>);
        self.encoders.insert(TypeId::of::<T>(), (type_id, encode));
        self.decoders.insert(type_id, (name, decode));
        Ok(self)
    }

    fn encoder(&self, message: &Dynamic) -> Result<(u16, Encode<S>), UnknownType> {
        // Not the type of the box.
        let id = (*message.value).type_id();
        let found = self.encoders.get(&id).copied();
        found.ok_or(UnknownType::Name(message.name))
    }
}

impl<S: Send + Sync> Codec<Dynamic> for Registry<S> {
    fn type_id(&self, message: &Dynamic) -> Result<u16, UnknownType> {
        self.encoder(message).map(|(type_id, _)| type_id)
    }

    fn encode_to(&self, message: &Dynamic, out: &mut BytesMut) -> Result<(), EncodeError> {
        let (_, encode) = self
            .encoder(message)
            .map_err(|error| EncodeError::new("this registry", error))?;
        encode(&self.serializer, message, out)
    }

    fn knows(&self, type_id: u16) -> bool {
        self.decoders.contains_key(&type_id)
    }

    fn decode(&self, type_id: u16, payload: Bytes) -> Result<Dynamic, DecodeError> {
        match self.decoders.get(&type_id) {
            Some((_, decode)) => decode(&self.serializer, payload),
            None => Err(crate::__private::unknown_type(type_id)),
        }
    }
}

impl<S: Send + Sync> Codec<Dynamic> for Arc<Registry<S>> {
    fn type_id(&self, message: &Dynamic) -> Result<u16, UnknownType> {
        Codec::type_id(&**self, message)
    }

    fn encode_to(&self, message: &Dynamic, out: &mut BytesMut) -> Result<(), EncodeError> {
        (**self).encode_to(message, out)
    }

    fn knows(&self, type_id: u16) -> bool {
        self.decoders.contains_key(&type_id)
    }

    fn decode(&self, type_id: u16, payload: Bytes) -> Result<Dynamic, DecodeError> {
        (**self).decode(type_id, payload)
    }
}

impl<S: Clone> Clone for Registry<S> {
    fn clone(&self) -> Self {
        Self {
            serializer: self.serializer.clone(),
            encoders: self.encoders.clone(),
            decoders: self.decoders.clone(),
        }
    }
}

impl<S> fmt::Debug for Registry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.decoders.iter().map(|(id, (name, _))| (id, name));
        f.debug_map().entries(types).finish()
    }
}
