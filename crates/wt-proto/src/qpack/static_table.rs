//! The static table: RFC 9204, Appendix A.

/// Name and value of one row.
pub(super) type Row = (&'static [u8], &'static [u8]);

/// What the table knows about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The row has the same name and the same value.
    Field(u8),
    /// The row, the first of its name, has the same name only.
    Name(u8),
}

/// Answers the row with this index.
pub(super) fn get(index: u64) -> Option<Row> {
    ROWS.get(usize::try_from(index).ok()?).copied()
}

/// Looks for the row that says most about a field.
pub(super) fn find(name: &[u8], value: &[u8]) -> Option<Match> {
    let mut same_name = None;
    let mut index = FIRST[bucket(name)];
    while let Some((row_name, row_value)) = ROWS.get(usize::from(index)) {
        if *row_name == name {
            if *row_value == value {
                return Some(Match::Field(index));
            }
            same_name = same_name.or(Some(Match::Name(index)));
        }
        index = NEXT[usize::from(index)];
    }
    same_name
}

/// Ends a chain of rows; no row has this index.
const END: u8 = u8::MAX;

/// The first row of each bucket.
static FIRST: [u8; 256] = CHAINS.0;

/// The row after each row in its bucket, in ascending order.
static NEXT: [u8; ROWS.len()] = CHAINS.1;

const CHAINS: ([u8; 256], [u8; ROWS.len()]) = {
    let mut first = [END; 256];
    let mut next = [END; ROWS.len()];
    let mut index = ROWS.len();
    while index > 0 {
        index -= 1;
        let bucket = bucket(ROWS[index].0);
        next[index] = first[bucket];
        first[bucket] = index as u8;
    }
    (first, next)
};

/// Spreads names over the buckets by their length and three of their bytes.
const fn bucket(name: &[u8]) -> usize {
    let len = name.len();
    if len == 0 {
        return 0;
    }
    let mixed =
        len * 29 + name[0] as usize * 3 + name[len / 2] as usize * 7 + name[len - 1] as usize * 17;
    mixed & 0xff
}

#[rustfmt::skip]
const ROWS: [Row; 99] = [
    (b":authority", b""), // 0
    (b":path", b"/"), // 1
    (b"age", b"0"), // 2
    (b"content-disposition", b""), // 3
    (b"content-length", b"0"), // 4
    (b"cookie", b""), // 5
    (b"date", b""), // 6
    (b"etag", b""), // 7
    (b"if-modified-since", b""), // 8
    (b"if-none-match", b""), // 9
    (b"last-modified", b""), // 10
    (b"link", b""), // 11
    (b"location", b""), // 12
    (b"referer", b""), // 13
    (b"set-cookie", b""), // 14
    (b":method", b"CONNECT"), // 15
    (b":method", b"DELETE"), // 16
    (b":method", b"GET"), // 17
    (b":method", b"HEAD"), // 18
    (b":method", b"OPTIONS"), // 19
    (b":method", b"POST"), // 20
    (b":method", b"PUT"), // 21
    (b":scheme", b"http"), // 22
    (b":scheme", b"https"), // 23
    (b":status", b"103"), // 24
    (b":status", b"200"), // 25
    (b":status", b"304"), // 26
    (b":status", b"404"), // 27
    (b":status", b"503"), // 28
    (b"accept", b"*/*"), // 29
    (b"accept", b"application/dns-message"), // 30
    (b"accept-encoding", b"gzip, deflate, br"), // 31
    (b"accept-ranges", b"bytes"), // 32
    (b"access-control-allow-headers", b"cache-control"), // 33
    (b"access-control-allow-headers", b"content-type"), // 34
    (b"access-control-allow-origin", b"*"), // 35
    (b"cache-control", b"max-age=0"), // 36
    (b"cache-control", b"max-age=2592000"), // 37
    (b"cache-control", b"max-age=604800"), // 38
    (b"cache-control", b"no-cache"), // 39
    (b"cache-control", b"no-store"), // 40
    (b"cache-control", b"public, max-age=31536000"), // 41
    (b"content-encoding", b"br"), // 42
    (b"content-encoding", b"gzip"), // 43
    (b"content-type", b"application/dns-message"), // 44
    (b"content-type", b"application/javascript"), // 45
    (b"content-type", b"application/json"), // 46
    (b"content-type", b"application/x-www-form-urlencoded"), // 47
    (b"content-type", b"image/gif"), // 48
    (b"content-type", b"image/jpeg"), // 49
    (b"content-type", b"image/png"), // 50
    (b"content-type", b"text/css"), // 51
    (b"content-type", b"text/html; charset=utf-8"), // 52
    (b"content-type", b"text/plain"), // 53
    (b"content-type", b"text/plain;charset=utf-8"), // 54
    (b"range", b"bytes=0-"), // 55
    (b"strict-transport-security", b"max-age=31536000"), // 56
    (b"strict-transport-security", b"max-age=31536000; includesubdomains"), // 57
    (b"strict-transport-security", b"max-age=31536000; includesubdomains; preload"), // 58
    (b"vary", b"accept-encoding"), // 59
    (b"vary", b"origin"), // 60
    (b"x-content-type-options", b"nosniff"), // 61
    (b"x-xss-protection", b"1; mode=block"), // 62
    (b":status", b"100"), // 63
    (b":status", b"204"), // 64
    (b":status", b"206"), // 65
    (b":status", b"302"), // 66
    (b":status", b"400"), // 67
    (b":status", b"403"), // 68
    (b":status", b"421"), // 69
    (b":status", b"425"), // 70
    (b":status", b"500"), // 71
    (b"accept-language", b""), // 72
    (b"access-control-allow-credentials", b"FALSE"), // 73
    (b"access-control-allow-credentials", b"TRUE"), // 74
    (b"access-control-allow-headers", b"*"), // 75
    (b"access-control-allow-methods", b"get"), // 76
    (b"access-control-allow-methods", b"get, post, options"), // 77
    (b"access-control-allow-methods", b"options"), // 78
    (b"access-control-expose-headers", b"content-length"), // 79
    (b"access-control-request-headers", b"content-type"), // 80
    (b"access-control-request-method", b"get"), // 81
    (b"access-control-request-method", b"post"), // 82
    (b"alt-svc", b"clear"), // 83
    (b"authorization", b""), // 84
    (b"content-security-policy", b"script-src 'none'; object-src 'none'; base-uri 'none'"), // 85
    (b"early-data", b"1"), // 86
    (b"expect-ct", b""), // 87
    (b"forwarded", b""), // 88
    (b"if-range", b""), // 89
    (b"origin", b""), // 90
    (b"purpose", b"prefetch"), // 91
    (b"server", b""), // 92
    (b"timing-allow-origin", b"*"), // 93
    (b"upgrade-insecure-requests", b"1"), // 94
    (b"user-agent", b""), // 95
    (b"x-forwarded-for", b""), // 96
    (b"x-frame-options", b"deny"), // 97
    (b"x-frame-options", b"sameorigin"), // 98
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_name_and_value() {
        for (index, (name, value)) in ROWS.iter().enumerate() {
            assert_eq!(find(name, value), Some(Match::Field(index as u8)));
            assert_eq!(get(index as u64), Some((*name, *value)));
        }
    }

    #[test]
    fn every_name_is_found_at_its_first_row() {
        for (name, _) in ROWS {
            let first = ROWS.iter().position(|row| row.0 == name).unwrap();
            assert_eq!(
                find(name, b"a value of no row"),
                Some(Match::Name(first as u8))
            );
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        for name in [
            &b""[..],
            b"x",
            b":",
            b":protocol",
            b":authorities",
            b"sec-webtransport-http3-draft02",
        ] {
            assert_eq!(find(name, b""), None);
        }
    }

    #[test]
    fn table_ends_at_98() {
        assert_eq!(get(98), Some((&b"x-frame-options"[..], &b"sameorigin"[..])));
        assert_eq!(get(99), None);
        assert_eq!(get(u64::MAX), None);
    }

    #[test]
    fn buckets_stay_small() {
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.0).collect();
        let mut used = [0; 256];
        for name in names {
            used[bucket(name)] += 1;
        }
        assert!(used.iter().max() <= Some(&3), "{used:?}");
    }
}
