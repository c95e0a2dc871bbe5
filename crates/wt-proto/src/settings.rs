//! The SETTINGS frame, with the settings of every WebTransport draft in use.
//!
//! ```text
//! Identifier (i) | Value (i) | Identifier (i) | Value (i) | ...
//! ```
//!
//! See RFC 9114, 7.2.4.

use bytes::BufMut;

use crate::{
    ProtocolViolation, VarInt,
    coding::{Decode, Encode, UnexpectedEnd},
    frame::{self, FrameType},
    id::MAX_STREAM_COUNT,
};

/// The identifier of a setting we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Setting(u64);

macro_rules! settings {
    ($($(#[$doc:meta])+ $name:ident = $id:literal;)+) => {
        impl Setting {
            $($(#[$doc])+ pub const $name: Self = Self($id);)+

            /// Creates an identifier, or answers `None` for a setting we do not know.
            pub const fn from_id(id: u64) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Returns the name, which is that of the drafts; where they give one name to two settings, the number of
            /// a draft stands at its end.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($id => stringify!($name),)+
                    // There is no way to make one.
                    _ => "unknown",
                }
            }
        }

        #[cfg(test)]
        const ALL: &[Setting] = &[$(Setting::$name),+];
    };
}

settings! {
    /// How large a QPACK table the peer may use (RFC 9204, 5).
    SETTINGS_QPACK_MAX_TABLE_CAPACITY = 0x1;
    /// How large a field section may be (RFC 9114, 7.2.4.1).
    SETTINGS_MAX_FIELD_SECTION_SIZE = 0x6;
    /// How many streams may wait for the QPACK table (RFC 9204, 5).
    SETTINGS_QPACK_BLOCKED_STREAMS = 0x7;
    /// Whether CONNECT may carry `:protocol` (RFC 9220, 3).
    SETTINGS_ENABLE_CONNECT_PROTOCOL = 0x8;
    /// Whether datagrams are understood (RFC 9297, 2.1.1).
    SETTINGS_H3_DATAGRAM = 0x33;
    /// Initial data limit of a session (draft-16, 5.5.3).
    SETTINGS_WT_INITIAL_MAX_DATA = 0x2b61;
    /// Initial limit of unidirectional streams of a session (draft-16, 5.5.1).
    SETTINGS_WT_INITIAL_MAX_STREAMS_UNI = 0x2b64;
    /// Initial limit of bidirectional streams of a session (draft-16, 5.5.2).
    SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI = 0x2b65;
    /// Whether datagrams are understood, as draft 04 of RFC 9297 said it.
    SETTINGS_H3_DATAGRAM_DRAFT04 = 0x00ff_d277;
    /// How many sessions the connection may have; WebTransport as in draft-13 and 14.
    SETTINGS_WT_MAX_SESSIONS = 0x14e9_cd29;
    /// Whether WebTransport is spoken as in draft-02.
    SETTINGS_ENABLE_WEBTRANSPORT_DRAFT02 = 0x2b60_3742;
    /// How many sessions the connection may have, as in draft-02.
    SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT02 = 0x2b60_3743;
    /// Whether WebTransport is spoken as in draft-15 and later (draft-16, 3.1).
    SETTINGS_WT_ENABLED = 0x2c7c_f000;
    /// How many sessions the connection may have; WebTransport as in draft-07 to 12.
    SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT07 = 0xc671_706a;
}

impl Setting {
    /// Returns the number.
    pub const fn id(self) -> u64 {
        self.0
    }

    /// Tells whether the setting may have the value. The draft-02 setting is not judged, as peers vary.
    const fn allows(self, value: u64) -> bool {
        match self {
            Self::SETTINGS_ENABLE_CONNECT_PROTOCOL
            | Self::SETTINGS_H3_DATAGRAM
            | Self::SETTINGS_H3_DATAGRAM_DRAFT04
            | Self::SETTINGS_WT_ENABLED => value <= 1,
            Self::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI
            | Self::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI => value <= MAX_STREAM_COUNT,
            _ => true,
        }
    }
}

/// The settings of one end, in the order they have on the wire.
///
/// Holds each setting we know at most once, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    entries: Vec<(Setting, VarInt)>,
}

impl Settings {
    /// Creates settings that say nothing.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Returns the value of a setting, or `None` if it was not sent.
    pub fn get(&self, setting: Setting) -> Option<u64> {
        let (_, value) = self.entries.iter().find(|(known, _)| *known == setting)?;
        Some(value.get())
    }

    /// Sets a value, in the place of an earlier one or behind all others.
    pub fn set(&mut self, setting: Setting, value: impl Into<VarInt>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(known, _)| *known == setting) {
            Some((_, present)) => *present = value,
            None => self.entries.push((setting, value)),
        }
    }

    /// Sets a value and returns the settings.
    #[must_use]
    pub fn with(mut self, setting: Setting, value: impl Into<VarInt>) -> Self {
        self.set(setting, value);
        self
    }

    /// Returns the settings in wire order.
    pub fn ids(&self) -> impl Iterator<Item = Setting> {
        self.entries.iter().map(|(setting, _)| *setting)
    }

    /// Returns the settings with their values in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (Setting, u64)> {
        self.entries
            .iter()
            .map(|(setting, value)| (*setting, value.get()))
    }

    /// Reads the payload of a SETTINGS frame. Unknown settings are skipped.
    ///
    /// # Errors
    ///
    /// One of the `Settings` violations.
    pub fn decode(mut payload: &[u8]) -> Result<Self, ProtocolViolation> {
        let mut settings = Self::new();
        while !payload.is_empty() {
            let (id, value) = decode_entry(&mut payload)
                .map_err(|UnexpectedEnd| ProtocolViolation::SettingsMalformed)?;
            if matches!(id.get(), 0x0 | 0x2..=0x5) {
                return Err(ProtocolViolation::SettingsReserved);
            }
            let Some(setting) = Setting::from_id(id.get()) else {
                continue;
            };
            if settings.get(setting).is_some() {
                return Err(ProtocolViolation::SettingsDuplicateId);
            }
            if !setting.allows(value.get()) {
                return Err(ProtocolViolation::SettingsInvalidValue);
            }
            settings.entries.push((setting, value));
        }
        settings.entries.shrink_to_fit();
        Ok(settings)
    }

    /// Appends the payload of a SETTINGS frame.
    pub fn encode(&self, out: &mut impl BufMut) {
        for (setting, value) in &self.entries {
            encode_entry(VarInt::new(setting.0).unwrap_or(VarInt::MAX), *value, out);
        }
    }

    /// Appends a SETTINGS frame, with one more identifier and value at its end that the peer has to ignore.
    ///
    /// A `grease` that does not consist of a [reserved](frame::is_grease) identifier and a 62 bit value is left out.
    pub fn encode_frame(&self, grease: Option<(u64, u64)>, out: &mut impl BufMut) {
        let grease = grease
            .filter(|(id, _)| frame::is_grease(*id))
            .and_then(|(id, value)| Some((VarInt::new(id)?, VarInt::new(value)?)));
        let mut payload = Vec::new();
        self.encode(&mut payload);
        if let Some((id, value)) = grease {
            encode_entry(id, value, &mut payload);
        }
        frame::encode_header(FrameType::SETTINGS, payload.len(), out);
        out.put_slice(&payload);
    }
}

fn decode_entry(payload: &mut &[u8]) -> Result<(VarInt, VarInt), UnexpectedEnd> {
    Ok((VarInt::decode(payload)?, VarInt::decode(payload)?))
}

fn encode_entry(id: VarInt, value: VarInt, out: &mut impl BufMut) {
    id.encode(out);
    value.encode(out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The default client control stream of PyWebTransport 0.8, without stream and frame type and length.
    const DRAFT_13_CLIENT: [u8; 23] = [
        0x08, 0x01, 0x33, 0x01, 0x07, 0x10, 0x01, 0x50, 0x00, 0x6b, 0x61, 0x00, 0x6b, 0x65, 0x00,
        0x6b, 0x64, 0x00, 0x94, 0xe9, 0xcd, 0x29, 0x01,
    ];

    fn draft_13_client() -> Settings {
        Settings::new()
            .with(Setting::SETTINGS_ENABLE_CONNECT_PROTOCOL, 1_u8)
            .with(Setting::SETTINGS_H3_DATAGRAM, 1_u8)
            .with(Setting::SETTINGS_QPACK_BLOCKED_STREAMS, 16_u8)
            .with(Setting::SETTINGS_QPACK_MAX_TABLE_CAPACITY, 4096_u16)
            .with(Setting::SETTINGS_WT_INITIAL_MAX_DATA, 0_u8)
            .with(Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI, 0_u8)
            .with(Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI, 0_u8)
            .with(Setting::SETTINGS_WT_MAX_SESSIONS, 1_u8)
    }

    fn payload_of(entries: &[(u64, u64)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, value) in entries {
            encode_entry(
                VarInt::new(*id).unwrap(),
                VarInt::new(*value).unwrap(),
                &mut out,
            );
        }
        out
    }

    #[test]
    fn reads_and_writes_the_draft_13_client() {
        assert_eq!(Settings::decode(&DRAFT_13_CLIENT), Ok(draft_13_client()));
        let mut out = Vec::new();
        draft_13_client().encode(&mut out);
        assert_eq!(out, DRAFT_13_CLIENT);
        let mut frame = Vec::new();
        draft_13_client().encode_frame(None, &mut frame);
        assert_eq!(frame[..2], [0x04, 0x17]);
        assert_eq!(frame[2..], DRAFT_13_CLIENT);
    }

    #[test]
    fn each_setting_has_a_name() {
        assert_eq!(Setting::SETTINGS_H3_DATAGRAM.name(), "SETTINGS_H3_DATAGRAM");
        for setting in ALL {
            let (id, name) = (setting.id(), setting.name());
            assert!(name.starts_with("SETTINGS_"), "{id:#x}: {name}");
            let sharing = ALL.iter().filter(|other| other.name() == name);
            assert_eq!(sharing.count(), 1, "{name}");
        }
    }

    #[test]
    fn keeps_the_wire_order() {
        let ids: Vec<_> = draft_13_client().ids().map(Setting::id).collect();
        assert_eq!(
            ids,
            [0x8, 0x33, 0x7, 0x1, 0x2b61, 0x2b65, 0x2b64, 0x14e9_cd29]
        );
    }

    #[test]
    fn setting_again_replaces_in_place() {
        let mut settings = draft_13_client();
        settings.set(Setting::SETTINGS_H3_DATAGRAM, 0_u8);
        assert_eq!(settings.get(Setting::SETTINGS_H3_DATAGRAM), Some(0));
        assert!(settings.ids().eq(draft_13_client().ids()));
        assert_eq!(settings.get(Setting::SETTINGS_WT_ENABLED), None);
    }

    #[test]
    fn grease_goes_last_and_is_ignored() {
        let settings = Settings::new().with(Setting::SETTINGS_WT_ENABLED, 1_u8);
        let mut out = Vec::new();
        settings.encode_frame(Some((0x21, 7)), &mut out);
        assert_eq!(out, [0x04, 0x07, 0xac, 0x7c, 0xf0, 0x00, 0x01, 0x21, 0x07]);
        assert_eq!(Settings::decode(&out[2..]), Ok(settings.clone()));
        for not_grease in [(0x08, 1), (0x21, 1 << 62)] {
            let mut out = Vec::new();
            settings.encode_frame(Some(not_grease), &mut out);
            assert_eq!(out[1], 5);
        }
    }

    #[test]
    fn any_number_of_unknown_settings_is_skipped() {
        let mut payload = Vec::new();
        for n in 0..10_000 {
            encode_entry(crate::coding::grease(n), VarInt::MAX, &mut payload);
        }
        payload.extend(payload_of(&[(0x21, 0), (0x21, 0), (0x33, 1)]));
        let settings = Settings::decode(&payload).unwrap();
        assert!(settings.iter().eq([(Setting::SETTINGS_H3_DATAGRAM, 1)]));
    }

    #[test]
    fn http2_settings_are_refused() {
        for id in [0x0, 0x2, 0x3, 0x4, 0x5] {
            assert_eq!(
                Settings::decode(&payload_of(&[(id, 0)])),
                Err(ProtocolViolation::SettingsReserved)
            );
        }
    }

    #[test]
    fn duplicates_are_refused() {
        for setting in ALL {
            assert_eq!(
                Settings::decode(&payload_of(&[(setting.id(), 0), (setting.id(), 0)])),
                Err(ProtocolViolation::SettingsDuplicateId)
            );
        }
    }

    #[test]
    fn values_are_judged_where_the_peer_has_no_choice() {
        for (id, largest) in [
            (0x8, 1),
            (0x33, 1),
            (0xff_d277, 1),
            (0x2c7c_f000, 1),
            (0x2b64, 1 << 60),
            (0x2b65, 1 << 60),
        ] {
            assert!(Settings::decode(&payload_of(&[(id, largest)])).is_ok());
            assert_eq!(
                Settings::decode(&payload_of(&[(id, largest + 1)])),
                Err(ProtocolViolation::SettingsInvalidValue)
            );
        }
        assert!(Settings::decode(&payload_of(&[(0x2b60_3742, 2)])).is_ok());
    }

    #[test]
    fn truncated_payload_is_malformed() {
        for end in 0..DRAFT_13_CLIENT.len() {
            match Settings::decode(&DRAFT_13_CLIENT[..end]) {
                Ok(settings) => assert_eq!(payload_len(&settings), end),
                Err(violation) => assert_eq!(violation, ProtocolViolation::SettingsMalformed),
            }
        }
    }

    fn payload_len(settings: &Settings) -> usize {
        let mut out = Vec::new();
        settings.encode(&mut out);
        out.len()
    }

    proptest! {
        #[test]
        fn round_trip(
            entries in prop::collection::vec((prop::sample::select(ALL), 0..=VarInt::MAX.get()), 0..20),
        ) {
            let mut settings = Settings::new();
            for (setting, value) in entries {
                let value = if setting.allows(value) { value } else { value & 1 };
                settings.set(setting, VarInt::new(value).unwrap());
            }
            let mut out = Vec::new();
            settings.encode(&mut out);
            prop_assert_eq!(Settings::decode(&out), Ok(settings));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(payload: Vec<u8>) {
            let _ = Settings::decode(&payload);
        }
    }
}
