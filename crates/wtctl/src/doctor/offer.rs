//! What the server's SETTINGS mean.

use wt::{
    Dialect,
    proto::{
        dialect::InitialLimits,
        settings::{Setting, Settings},
    },
};

use crate::units;

/// A limit that nobody reaches.
const ENDLESS: u64 = 1 << 60;

/// Says a limit as a number, or that it is none.
pub(super) fn count(limit: u64) -> String {
    match limit {
        ENDLESS.. => "unlimited".to_owned(),
        limit => units::grouped(limit as f64),
    }
}

fn size(limit: u64) -> String {
    match limit {
        ENDLESS.. => "unlimited".to_owned(),
        limit => units::bytes(limit as f64),
    }
}

fn sessions(dialect: &str, limit: u64) -> String {
    match limit {
        0 => format!("not {dialect}"),
        1 => format!("{dialect}, 1 session on a connection"),
        limit => format!("{dialect}, {} sessions on a connection", count(limit)),
    }
}

fn switch(what: &str, value: u64) -> String {
    match value {
        0 => format!("no {what}"),
        _ => what.to_owned(),
    }
}

/// Says what a setting with this value means.
pub(super) fn meaning(setting: Setting, value: u64) -> String {
    use Setting as S;
    match setting {
        S::SETTINGS_QPACK_MAX_TABLE_CAPACITY => match value {
            0 => "no QPACK table".to_owned(),
            bytes => format!("QPACK table of {}", size(bytes)),
        },
        S::SETTINGS_QPACK_BLOCKED_STREAMS => match value {
            0 => "no stream waits for the QPACK table".to_owned(),
            streams => format!("{} streams may wait for the QPACK table", count(streams)),
        },
        S::SETTINGS_MAX_FIELD_SECTION_SIZE => format!("header fields of {} at most", size(value)),
        S::SETTINGS_ENABLE_CONNECT_PROTOCOL => switch("extended CONNECT", value),
        S::SETTINGS_H3_DATAGRAM => switch("HTTP datagrams", value),
        S::SETTINGS_H3_DATAGRAM_DRAFT04 => switch("HTTP datagrams, in the older form", value),
        S::SETTINGS_WT_INITIAL_MAX_DATA => {
            format!(
                "flow control: {} of data in a session at first",
                size(value)
            )
        }
        S::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI => {
            format!(
                "flow control: {} unidirectional streams at first",
                count(value)
            )
        }
        S::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI => {
            format!(
                "flow control: {} bidirectional streams at first",
                count(value)
            )
        }
        S::SETTINGS_ENABLE_WEBTRANSPORT_DRAFT02 => match value {
            0 => "not draft-02".to_owned(),
            1 => "draft-02".to_owned(),
            _ => "draft-02, with a value that browsers refuse: 1 is right".to_owned(),
        },
        S::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT02 => sessions("draft-02", value),
        S::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT07 => sessions("draft-07", value),
        S::SETTINGS_WT_MAX_SESSIONS => sessions("draft-13/14", value),
        S::SETTINGS_WT_ENABLED => switch("draft-15/16", value),
        _ => setting.name().to_owned(),
    }
}

/// Says what the server grants the sessions of newer dialects at their start; `None` is no flow control of sessions.
pub(super) fn flow_control(settings: &Settings) -> Option<InitialLimits> {
    Some(InitialLimits::from_settings(settings)).filter(|limits| limits.wants_flow_control())
}

/// Returns how many sessions the server allows on a connection in this dialect, where it says so.
pub(super) fn session_limit(settings: &Settings, dialect: Dialect) -> Option<u64> {
    settings.get(match dialect {
        Dialect::Draft02 => Setting::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT02,
        Dialect::Draft07 => Setting::SETTINGS_WEBTRANSPORT_MAX_SESSIONS_DRAFT07,
        Dialect::Draft13 => Setting::SETTINGS_WT_MAX_SESSIONS,
        _ => return None,
    })
}

/// Says the flow control of sessions in a line.
pub(super) fn flow_control_words(settings: &Settings) -> String {
    match flow_control(settings) {
        None => "none of sessions".to_owned(),
        Some(limits) => format!(
            "{} of data, {} bidirectional and {} unidirectional streams at the start of a session",
            size(limits.max_data),
            count(limits.max_streams_bidi),
            count(limits.max_streams_uni)
        ),
    }
}

#[cfg(test)]
mod tests {
    use wt::proto::VarInt;

    use super::*;

    #[test]
    fn settings_are_said_in_words() {
        use Setting as S;
        for (setting, value, words) in [
            (S::SETTINGS_H3_DATAGRAM, 1, "HTTP datagrams"),
            (S::SETTINGS_H3_DATAGRAM, 0, "no HTTP datagrams"),
            (
                S::SETTINGS_MAX_FIELD_SECTION_SIZE,
                16384,
                "header fields of 16 KiB at most",
            ),
            (
                S::SETTINGS_WT_MAX_SESSIONS,
                1,
                "draft-13/14, 1 session on a connection",
            ),
            (
                S::SETTINGS_WT_MAX_SESSIONS,
                (1 << 62) - 1,
                "draft-13/14, unlimited sessions on a connection",
            ),
            (
                S::SETTINGS_ENABLE_WEBTRANSPORT_DRAFT02,
                2,
                "draft-02, with a value that browsers refuse: 1 is right",
            ),
        ] {
            assert_eq!(meaning(setting, value), words);
        }
    }

    #[test]
    fn limits_of_zero_are_no_flow_control() {
        let zero = Settings::new().with(Setting::SETTINGS_WT_INITIAL_MAX_DATA, VarInt::from_u32(0));
        assert_eq!(flow_control_words(&zero), "none of sessions");
        let some = zero
            .with(
                Setting::SETTINGS_WT_INITIAL_MAX_DATA,
                VarInt::from_u32(1 << 20),
            )
            .with(
                Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI,
                VarInt::from_u32(100),
            );
        assert_eq!(
            flow_control_words(&some),
            "1 MiB of data, 100 bidirectional and 0 unidirectional streams at the start of a session"
        );
    }
}
