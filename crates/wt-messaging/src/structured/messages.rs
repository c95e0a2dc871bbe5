//! Enums of messages.

use bytes::{Bytes, BytesMut};

use crate::serializer::{DecodeError, EncodeError};

/// An enum of messages, each variant with the number of its type. Made by
/// [`messages!`](crate::messages) for every serializer `S` that can write all of them.
pub trait Messages<S>: Sized {
    /// The numbers of the types, in the order of the variants.
    const TYPE_IDS: &'static [u16];

    /// Returns the number of the type of this message.
    fn type_id(&self) -> u16;

    /// Appends the bytes of this message to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the message has no form.
    fn encode_to(&self, serializer: &S, out: &mut BytesMut) -> Result<(), EncodeError>;

    /// Reads a message of the type with this number.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the bytes are not a message of that type, or there is none.
    fn decode(type_id: u16, payload: Bytes, serializer: &S) -> Result<Self, DecodeError>;
}

/// Makes an enum of messages: each variant holds one type and has the number that stands for it on
/// the wire.
///
/// The enum gets the attributes and documentation that are written here, `From` for each of the types,
/// and [`Messages`](crate::structured::Messages) for every serializer that can write all of them. Two
/// variants with the same number, or with the same type, do not compile.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # pub struct UserData { id: u32 }
/// # #[derive(Serialize, Deserialize)]
/// # pub struct StatusUpdate { status: String }
/// wt_messaging::messages! {
///     pub enum Message {
///         User(UserData) = 1,
///         Status(StatusUpdate) = 2,
///     }
/// }
///
/// let message = Message::from(UserData { id: 7 });
/// assert!(matches!(message, Message::User(UserData { id: 7 })));
/// ```
///
/// ```compile_fail
/// wt_messaging::messages! {
///     enum Twice {
///         Number(u8) = 1,
///         Text(String) = 1,
///     }
/// }
/// ```
#[macro_export]
macro_rules! messages {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $(
                $(#[$variant_attribute:meta])*
                $variant:ident($kind:ty) = $number:literal
            ),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $name {
            $(
                $(#[$variant_attribute])*
                $variant($kind),
            )+
        }

        $(
            impl ::core::convert::From<$kind> for $name {
                fn from(message: $kind) -> Self {
                    Self::$variant(message)
                }
            }
        )+

        impl<S> $crate::structured::Messages<S> for $name
        where
            $(S: $crate::serializer::Serializer<$kind>,)+
        {
            const TYPE_IDS: &'static [u16] = $crate::__private::distinct(&[$($number),+]);

            fn type_id(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $number,)+
                }
            }

            fn encode_to(
                &self,
                serializer: &S,
                out: &mut $crate::__private::BytesMut,
            ) -> ::core::result::Result<(), $crate::serializer::EncodeError> {
                match self {
                    $(
                        Self::$variant(message) => {
                            <S as $crate::serializer::Serializer<$kind>>::encode_to(
                                serializer, message, out,
                            )
                        }
                    )+
                }
            }

            fn decode(
                type_id: u16,
                payload: $crate::__private::Bytes,
                serializer: &S,
            ) -> ::core::result::Result<Self, $crate::serializer::DecodeError> {
                match type_id {
                    $(
                        $number => {
                            <S as $crate::serializer::Serializer<$kind>>::decode(
                                serializer, payload,
                            )
                            .map(Self::$variant)
                        }
                    )+
                    _ => ::core::result::Result::Err($crate::__private::unknown_type(type_id)),
                }
            }
        }

        // Here and not only in the trait, so that two equal numbers fail without being used.
        const _: &[u16] = $crate::__private::distinct(&[$($number),+]);
    };
}
