//! Which certificate a client is shown.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::tls::Identity;

/// All certificates at one moment, found by name.
#[derive(Debug)]
pub(crate) struct Shown {
    default: Identity,
    /// By name, in lower case.
    exact: HashMap<String, Identity>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, Identity>,
}

impl Shown {
    /// The first one is the default.
    pub(super) fn new<'a>(identities: impl IntoIterator<Item = &'a Identity>) -> Self {
        let mut identities = identities.into_iter().peekable();
        let default = *identities.peek().expect("there is always a default one");
        let mut shown = Self {
            default: default.clone(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        };
        for identity in identities {
            for name in identity.names() {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut shown.wildcard, parent),
                    None => (&mut shown.exact, &name[..]),
                };
                let first = map.entry(name.to_owned());
                first.or_insert_with(|| identity.clone());
            }
        }
        shown
    }

    pub(super) const fn default_identity(&self) -> &Identity {
        &self.default
    }

    /// Returns the one for a name.
    pub(super) fn choose(&self, name: &str) -> &Identity {
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        let below = || {
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        };
        let found = self.exact.get(&*name).or_else(below);
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identity = match client_hello.server_name() {
            Some(name) => self.choose(name),
            None => &self.default,
        };
        Some(Arc::clone(identity.certified()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(names: &[&str]) -> Identity {
        Identity::self_signed(names.iter().copied()).unwrap()
    }

    #[test]
    fn exact_names_come_before_wildcards_and_the_default_comes_last() {
        let all = [
            identity(&["default.example", "127.0.0.1"]),
            identity(&["*.a.example"]),
            identity(&["www.a.example", "b.example"]),
            identity(&["*.b.example", "b.example", "*.c.b.example"]),
        ];
        let shown = Shown::new(&all);
        for (name, index) in [
            ("default.example", 0),
            ("www.a.example", 2),
            ("WWW.A.example", 2),
            ("www.a.example.", 2),
            ("mail.a.example", 1),
            // A wildcard is for one label, and not for none.
            ("x.mail.a.example", 0),
            ("a.example", 0),
            // The one that came first.
            ("b.example", 2),
            ("x.b.example", 3),
            ("x.c.b.example", 3),
            // A wildcard is no name.
            ("*.example", 0),
            ("elsewhere.example", 0),
            ("localhost", 0),
            ("", 0),
        ] {
            assert!(shown.choose(name).is(&all[index]), "{name}");
        }
    }
}
