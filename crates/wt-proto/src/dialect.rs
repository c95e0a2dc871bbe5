//! The versions of WebTransport over HTTP/3 that are in use, and what each one asks for.
//!
//! A server offers all of them in one SETTINGS frame; a client offers those it may speak. Which one
//! a session uses follows from the SETTINGS of both sides and from the upgrade token of its CONNECT.
//! Deviations of known peers are [`Quirks`], found from the fingerprint of their SETTINGS: they never
//! apply to anybody else.

use std::fmt;

use crate::{
    VarInt,
    head::UpgradeToken,
    id::MAX_STREAM_COUNT,
    settings::{Setting, Settings},
};

/// A version of WebTransport over HTTP/3, named for the first draft that speaks it.
///
/// Later versions compare greater, so that the best common one is a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// draft-02: Chromium and Firefox.
    Draft02,
    /// draft-07 to draft-12.
    Draft07,
    /// draft-13 and draft-14: the first with flow control of sessions.
    Draft13,
    /// draft-15 and draft-16: a setting without a session count and a token of its own.
    Draft15,
}

impl Dialect {
    /// All dialects, oldest first.
    pub const ALL: [Self; 4] = [Self::Draft02, Self::Draft07, Self::Draft13, Self::Draft15];

    /// Returns the setting by which an endpoint says that it speaks this dialect.
    #[must_use]
    pub const fn setting(self) -> Setting {
        match self {
            Self::Draft02 => Setting::SETTINGS_ENABLE_WEBTRANSPORT_DRAFT02,
            Self::Draft07 => Setting::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT07,
            Self::Draft13 => Setting::SETTINGS_WT_MAX_SESSIONS,
            Self::Draft15 => Setting::SETTINGS_WT_ENABLED,
        }
    }

    /// Returns the upgrade token of a CONNECT request in this dialect.
    #[must_use]
    pub const fn token(self) -> UpgradeToken {
        match self {
            Self::Draft15 => UpgradeToken::WebTransportH3,
            _ => UpgradeToken::WebTransport,
        }
    }

    /// Returns whether this dialect knows flow control of sessions.
    #[must_use]
    pub const fn has_flow_control(self) -> bool {
        matches!(self, Self::Draft13 | Self::Draft15)
    }

    /// Returns the name of the drafts in words, such as `draft-15/16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft02 => "draft-02",
            Self::Draft07 => "draft-07",
            Self::Draft13 => "draft-13/14",
            Self::Draft15 => "draft-15/16",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of dialects.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DialectSet(u8);

impl DialectSet {
    /// No dialect.
    pub const EMPTY: Self = Self(0);
    /// Every dialect that this crate knows.
    pub const ALL: Self = Self(0b1111);

    /// Returns the set that holds `dialect` alone.
    #[must_use]
    pub const fn only(dialect: Dialect) -> Self {
        Self(dialect.bit())
    }

    /// Returns the set with `dialect` added.
    #[must_use]
    pub const fn with(self, dialect: Dialect) -> Self {
        Self(self.0 | dialect.bit())
    }

    /// Returns the set with `dialect` removed.
    #[must_use]
    pub const fn without(self, dialect: Dialect) -> Self {
        Self(self.0 & !dialect.bit())
    }

    /// Returns whether the set holds `dialect`.
    #[must_use]
    pub const fn contains(self, dialect: Dialect) -> bool {
        self.0 & dialect.bit() != 0
    }

    /// Returns the dialects that both sets hold.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the dialects of the set, oldest first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Dialect> {
        Dialect::ALL.into_iter().filter(move |d| self.contains(*d))
    }

    /// Returns the newest dialect of the set.
    #[must_use]
    pub fn newest(self) -> Option<Dialect> {
        self.iter().next_back()
    }

    /// Returns the dialects that a peer offers in its SETTINGS.
    #[must_use]
    pub fn offered(settings: &Settings) -> Self {
        let on = |d: Dialect| settings.get(d.setting()).is_some_and(|v| v > 0);
        Dialect::ALL.into_iter().filter(|d| on(*d)).collect()
    }
}

impl FromIterator<Dialect> for DialectSet {
    fn from_iter<I: IntoIterator<Item = Dialect>>(iter: I) -> Self {
        iter.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl Default for DialectSet {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Debug for DialectSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Chooses the dialect that a client speaks to a server with these SETTINGS.
///
/// The newest one that both sides allow and whose companions (extended CONNECT and HTTP datagrams)
/// the server offers as well; `None` when there is no such dialect.
#[must_use]
pub fn client_choice(allowed: DialectSet, server: &Settings) -> Option<Dialect> {
    let datagrams = has_datagrams(server);
    let connect = server.get(Setting::SETTINGS_ENABLE_CONNECT_PROTOCOL) == Some(1);
    allowed
        .intersection(DialectSet::offered(server))
        .iter()
        .rev()
        .find(|d| match d {
            Dialect::Draft15 => connect && server.get(Setting::SETTINGS_H3_DATAGRAM) == Some(1),
            _ => connect && datagrams,
        })
}

/// Chooses the dialect in which a server takes a CONNECT with this token from this client.
///
/// Both tokens are always answered, as clients exist that mix them with the SETTINGS of another
/// draft. `draft02` says whether the request carries the header field of draft-02. `None` when the
/// client's SETTINGS lack what the token's dialect requires (draft-16, 3.1), HTTP datagrams above all:
/// none may be sent to who did not announce them (RFC 9297, 2.1.1).
#[must_use]
pub fn server_choice(
    allowed: DialectSet,
    client: &Settings,
    token: UpgradeToken,
    draft02: bool,
) -> Option<Dialect> {
    match token {
        UpgradeToken::WebTransportH3 => (allowed.contains(Dialect::Draft15)
            && client.get(Setting::SETTINGS_H3_DATAGRAM) == Some(1))
        .then_some(Dialect::Draft15),
        UpgradeToken::WebTransport if !has_datagrams(client) => None,
        UpgradeToken::WebTransport => {
            let old = allowed.without(Dialect::Draft15);
            let offered = DialectSet::offered(client);
            let datagrams = client.get(Setting::SETTINGS_H3_DATAGRAM) == Some(1);
            // The old token beside the settings of the newest drafts alone.
            let mixed =
                datagrams && allowed.intersection(offered) == DialectSet::only(Dialect::Draft15);
            let fallback = if draft02 {
                Dialect::Draft02
            } else {
                Dialect::Draft07
            };
            old.intersection(offered)
                .newest()
                .or(mixed.then_some(Dialect::Draft15))
                .or_else(|| old.contains(fallback).then_some(fallback))
                .or_else(|| old.newest())
        }
    }
}

/// Returns whether SETTINGS offer HTTP datagrams, in the final or in the older form.
#[must_use]
pub fn has_datagrams(settings: &Settings) -> bool {
    settings.get(Setting::SETTINGS_H3_DATAGRAM) == Some(1)
        || settings.get(Setting::SETTINGS_H3_DATAGRAM_DRAFT04) == Some(1)
}

/// The limits of session flow control that an endpoint grants at the start of every session.
///
/// draft-16, 5.5: SETTINGS_WT_INITIAL_MAX_DATA and the two stream limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "the three limits are all that the draft has"
)]
pub struct InitialLimits {
    /// Bytes of stream bodies in one session.
    pub max_data: u64,
    /// Bidirectional streams in one session.
    pub max_streams_bidi: u64,
    /// Unidirectional streams in one session.
    pub max_streams_uni: u64,
}

impl InitialLimits {
    /// Reads the limits from SETTINGS; absent ones are 0.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let get = |s| settings.get(s).unwrap_or(0);
        Self {
            max_data: get(Setting::SETTINGS_WT_INITIAL_MAX_DATA),
            max_streams_bidi: get(Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI),
            max_streams_uni: get(Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI),
        }
    }

    /// Returns the limits with those that are 0 lifted.
    pub(crate) fn zero_is_unlimited(self) -> Self {
        let lift = |limit, most| if limit == 0 { most } else { limit };
        Self {
            max_data: lift(self.max_data, VarInt::MAX.get()),
            max_streams_bidi: lift(self.max_streams_bidi, MAX_STREAM_COUNT),
            max_streams_uni: lift(self.max_streams_uni, MAX_STREAM_COUNT),
        }
    }

    /// Returns whether these limits declare the intent to use flow control (draft-16, 5.1).
    #[must_use]
    pub const fn wants_flow_control(self) -> bool {
        self.max_data != 0 || self.max_streams_bidi != 0 || self.max_streams_uni != 0
    }
}

/// Deviations from the drafts that one known peer needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quirks {
    /// Capsules stand bare on the CONNECT stream, without DATA frames, in both directions.
    ///
    /// PyWebTransport 0.8 writes them so and closes the connection when it sees a DATA frame there.
    pub raw_capsules: bool,
    /// It heeds our limits even if it announces none of its own, and does not check what we send.
    ///
    /// PyWebTransport 0.8 announces limits of 0 unless it is told otherwise, which is no flow control by the draft,
    /// and then stops where our first limits end unless they are raised.
    pub one_sided_flow_control: bool,
}

impl Quirks {
    /// Recognises a peer by its SETTINGS.
    #[must_use]
    pub fn detect(settings: &Settings) -> Self {
        let known = is_pywebtransport_08(settings);
        Self {
            raw_capsules: known,
            one_sided_flow_control: known,
        }
    }
}

/// PyWebTransport 0.8 writes exactly these settings in this order, with these two QPACK values.
fn is_pywebtransport_08(settings: &Settings) -> bool {
    const ORDER: [Setting; 8] = [
        Setting::SETTINGS_ENABLE_CONNECT_PROTOCOL,
        Setting::SETTINGS_H3_DATAGRAM,
        Setting::SETTINGS_QPACK_BLOCKED_STREAMS,
        Setting::SETTINGS_QPACK_MAX_TABLE_CAPACITY,
        Setting::SETTINGS_WT_INITIAL_MAX_DATA,
        Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI,
        Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI,
        Setting::SETTINGS_WT_MAX_SESSIONS,
    ];
    settings.ids().eq(ORDER)
        && settings.get(Setting::SETTINGS_QPACK_BLOCKED_STREAMS) == Some(16)
        && settings.get(Setting::SETTINGS_QPACK_MAX_TABLE_CAPACITY) == Some(4096)
}

/// What an endpoint says of itself in SETTINGS.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::exhaustive_structs,
    reason = "built by the connection from its own config"
)]
pub(crate) struct Offer {
    pub(crate) dialects: DialectSet,
    pub(crate) server: bool,
    pub(crate) max_sessions: u64,
    pub(crate) field_section: u64,
    pub(crate) limits: InitialLimits,
}

impl Offer {
    /// Lists the settings that say all of this at once (protocol facts of the dialect table above).
    pub(crate) fn settings(&self) -> Settings {
        let mut out = Settings::default();
        let mut put = |id, value: u64| {
            out.set(id, VarInt::new(value).unwrap_or(VarInt::MAX));
        };
        put(Setting::SETTINGS_QPACK_MAX_TABLE_CAPACITY, 0);
        put(Setting::SETTINGS_MAX_FIELD_SECTION_SIZE, self.field_section);
        put(Setting::SETTINGS_QPACK_BLOCKED_STREAMS, 0);
        put(Setting::SETTINGS_ENABLE_CONNECT_PROTOCOL, 1);
        put(Setting::SETTINGS_H3_DATAGRAM, 1);
        // Only the count of a server means anything; a client says that it speaks the dialect.
        let count = if self.server {
            self.max_sessions.max(1)
        } else {
            1
        };
        for dialect in self.dialects.iter() {
            match dialect {
                Dialect::Draft02 => {
                    // The setting of the expired datagram draft: draft-02 peers look for it.
                    put(Setting::SETTINGS_H3_DATAGRAM_DRAFT04, 1);
                    // Chromium closes on any other value than 1.
                    put(dialect.setting(), 1);
                    put(Setting::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT02, count);
                }
                Dialect::Draft15 => put(dialect.setting(), 1),
                Dialect::Draft07 | Dialect::Draft13 => put(dialect.setting(), count),
            }
        }
        if self.dialects.iter().any(Dialect::has_flow_control) {
            put(Setting::SETTINGS_WT_INITIAL_MAX_DATA, self.limits.max_data);
            put(
                Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI,
                self.limits.max_streams_uni,
            );
            put(
                Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI,
                self.limits.max_streams_bidi,
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(Setting, u32)]) -> Settings {
        let mut out = Settings::default();
        for (id, value) in pairs {
            out.set(*id, VarInt::from_u32(*value));
        }
        out
    }

    fn offer(dialects: DialectSet, server: bool) -> Settings {
        let limits = InitialLimits {
            max_data: 1 << 20,
            max_streams_bidi: 100,
            max_streams_uni: 100,
        };
        Offer {
            dialects,
            server,
            max_sessions: 16,
            field_section: 16384,
            limits,
        }
        .settings()
    }

    #[test]
    fn a_server_offers_every_dialect_at_once() {
        let all = offer(DialectSet::ALL, true);
        assert_eq!(DialectSet::offered(&all), DialectSet::ALL);
        assert_eq!(
            all.get(Setting::SETTINGS_ENABLE_WEBTRANSPORT_DRAFT02),
            Some(1)
        );
        assert_eq!(
            all.get(Setting::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT07),
            Some(16)
        );
        assert_eq!(
            all.get(Setting::SETTINGS_WT_INITIAL_MAX_DATA),
            Some(1 << 20)
        );
    }

    #[test]
    fn each_pair_settles_on_the_newest_common_dialect() {
        for server in 1..16u8 {
            for client in 1..16u8 {
                let (server, client) = (DialectSet(server), DialectSet(client));
                let expected = server.intersection(client).newest();
                let chosen = client_choice(client, &offer(server, true));
                assert_eq!(chosen, expected, "server {server:?}, client {client:?}");
                if let Some(dialect) = chosen {
                    let seen = server_choice(
                        server,
                        &offer(client, false),
                        dialect.token(),
                        dialect == Dialect::Draft02,
                    );
                    assert_eq!(seen, Some(dialect), "server {server:?}, client {client:?}");
                }
            }
        }
    }

    #[test]
    fn a_client_without_any_offer_is_taken_by_its_token() {
        let bare = settings(&[(Setting::SETTINGS_H3_DATAGRAM, 1)]);
        let choose = |token, draft02| server_choice(DialectSet::ALL, &bare, token, draft02);
        assert_eq!(
            choose(UpgradeToken::WebTransport, true),
            Some(Dialect::Draft02)
        );
        assert_eq!(
            choose(UpgradeToken::WebTransport, false),
            Some(Dialect::Draft07)
        );
        assert_eq!(
            choose(UpgradeToken::WebTransportH3, false),
            Some(Dialect::Draft15)
        );
    }

    #[test]
    fn the_old_token_with_the_newest_settings_keeps_flow_control() {
        let client = offer(DialectSet::only(Dialect::Draft15), false);
        let token = UpgradeToken::WebTransport;
        let chosen = server_choice(DialectSet::ALL, &client, token, false);
        assert_eq!(chosen, Some(Dialect::Draft15));
        let old = DialectSet::ALL.without(Dialect::Draft15);
        let chosen = server_choice(old, &client, token, false);
        assert_eq!(chosen, Some(Dialect::Draft07));
    }

    #[test]
    fn every_token_needs_http_datagrams() {
        for dialect in Dialect::ALL {
            let announced = (dialect.setting(), 1);
            let choose = |settings: &Settings| {
                let draft02 = dialect == Dialect::Draft02;
                server_choice(DialectSet::ALL, settings, dialect.token(), draft02)
            };
            assert_eq!(choose(&settings(&[announced])), None, "{dialect}");
            let with = settings(&[announced, (Setting::SETTINGS_H3_DATAGRAM, 1)]);
            assert_eq!(choose(&with), Some(dialect));
            // The setting of the datagrams' own draft serves peers of the drafts of its time.
            let older = settings(&[announced, (Setting::SETTINGS_H3_DATAGRAM_DRAFT04, 1)]);
            let expected = Some(dialect).filter(|d| *d != Dialect::Draft15);
            assert_eq!(choose(&older), expected);
        }
    }

    #[test]
    fn every_dialect_needs_extended_connect() {
        for dialect in Dialect::ALL {
            let allowed = DialectSet::only(dialect);
            let mut server = offer(allowed, true);
            assert_eq!(client_choice(allowed, &server), Some(dialect));
            server.set(
                Setting::SETTINGS_ENABLE_CONNECT_PROTOCOL,
                VarInt::from_u32(0),
            );
            assert_eq!(client_choice(allowed, &server), None, "{dialect}");
        }
    }

    #[test]
    fn only_the_fingerprint_of_pywebtransport_gets_its_quirk() {
        let mut pairs = vec![
            (Setting::SETTINGS_ENABLE_CONNECT_PROTOCOL, 1),
            (Setting::SETTINGS_H3_DATAGRAM, 1),
            (Setting::SETTINGS_QPACK_BLOCKED_STREAMS, 16),
            (Setting::SETTINGS_QPACK_MAX_TABLE_CAPACITY, 4096),
            (Setting::SETTINGS_WT_INITIAL_MAX_DATA, 1 << 20),
            (Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI, 100),
            (Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI, 100),
            (Setting::SETTINGS_WT_MAX_SESSIONS, 1),
        ];
        assert!(Quirks::detect(&settings(&pairs)).raw_capsules);
        pairs.swap(0, 1);
        assert!(!Quirks::detect(&settings(&pairs)).raw_capsules);
        assert!(!Quirks::detect(&offer(DialectSet::ALL, false)).raw_capsules);
    }
}
