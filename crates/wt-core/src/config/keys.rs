//! The fields of a configuration by name: to read them, to set them, and to lay the environment over them.

use super::{
    CertificateConfig, ClientConfig, ConfigError, Limits, ServerConfig, SessionConfig,
    TransportConfig, error::invalid, text::Text,
};
use crate::tls::Identity;

/// Something whose fields have names.
pub(super) trait Keys {
    /// All names, with `prefix` before each.
    fn list(prefix: &str, names: &mut Vec<String>);
    /// The text of a field; `None` when there is none of that name.
    fn text(&self, name: &str) -> Option<String>;
    /// Sets a field; `None` when there is none of that name.
    fn put(&mut self, name: &str, text: &str) -> Option<Result<(), super::text::Reason>>;
}

macro_rules! keys {
    ($type:ty: $($field:ident)+ $(; groups $($group:ident: $group_type:ty),+)?) => {
        impl Keys for $type {
            fn list(prefix: &str, names: &mut Vec<String>) {
                $(names.push(format!("{prefix}{}", stringify!($field)));)+
                $($(<$group_type>::list(concat!(stringify!($group), "."), names);)+)?
            }

            fn text(&self, name: &str) -> Option<String> {
                match name {
                    $(stringify!($field) => Some(self.$field.write()),)+
                    _ => {
                        $(let (group, name) = name.split_once('.')?;
                        $(if group == stringify!($group) {
                            return self.$group.text(name);
                        })+)?
                        None
                    }
                }
            }

            fn put(&mut self, name: &str, text: &str) -> Option<Result<(), super::text::Reason>> {
                match name {
                    $(stringify!($field) => {
                        Some(Text::read(text).map(|value| self.$field = value))
                    })+
                    _ => {
                        $(let (group, name) = name.split_once('.')?;
                        $(if group == stringify!($group) {
                            return self.$group.put(name, text);
                        })+)?
                        None
                    }
                }
            }
        }
    };
}

keys!(TransportConfig:
    idle_timeout keep_alive congestion stream_receive_window receive_window send_window
    streams_bidi streams_uni datagram_send_buffer datagram_receive_buffer initial_mtu
    mtu_upper_bound mtu_minimum_change socket_buffer batch_packets max_incoming incoming_buffer qlog
    qlog_bytes);

keys!(SessionConfig: flow_control max_data auto_scale max_streams_bidi max_streams_uni);

keys!(Limits:
    connections sessions_per_connection pending_requests field_section_size pending_headers
    header_timeout settings_timeout early_streams early_datagrams early_per_session early_bytes
    early_age datagram_queue close_timeout unused_timeout handshakes server_requests linger
    connections_per_address handshakes_per_address sessions sessions_per_address connection_rate
    connection_rate_per_address session_rate session_rate_per_address retry addresses);

keys!(CertificateConfig: max check_interval renew renew_before expiry_warning);

keys!(ClientConfig:
    bind verification alpn dialects connect_timeout headers user_agent key_log;
    groups transport: TransportConfig, session: SessionConfig, limits: Limits);

keys!(ServerConfig:
    bind client_auth alpn dialects key_log;
    groups certificates: CertificateConfig, transport: TransportConfig, session: SessionConfig,
        limits: Limits);

/// Where certificate and key come from, which belong together.
const CERTIFICATE: &str = "identity.certificate";
const KEY: &str = "identity.key";

/// What the environment variable of a field is called: `transport.idle_timeout` is `WT_TRANSPORT_IDLE_TIMEOUT`.
fn variable(name: &str) -> String {
    format!("WT_{}", name.replace('.', "_").to_ascii_uppercase())
}

/// Sets a field by its name.
fn set<T: Keys>(config: &mut T, key: &str, value: &str) -> Result<(), ConfigError> {
    match config.put(key, value) {
        None => Err(invalid(key, value, "unknown configuration key")),
        Some(Err(reason)) => Err(invalid(key, value, reason)),
        Some(Ok(())) => Ok(()),
    }
}

/// Lays variables over a configuration; gives back certificate and key, where they are named.
fn overlay<T: Keys>(
    config: &mut T,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Option<Identity>, ConfigError> {
    let mut names = Vec::new();
    T::list("", &mut names);
    let (mut certificate, mut key) = (None, None);
    for (variable_name, value) in variables {
        if !variable_name.starts_with("WT_") {
            continue;
        }
        if variable_name == variable(CERTIFICATE) {
            certificate = Some(value);
        } else if variable_name == variable(KEY) {
            key = Some(value);
        } else if let Some(name) = names.iter().find(|name| variable(name) == variable_name) {
            set(config, name, &value)?;
        } else {
            // Others use this prefix as well, Windows Terminal among them.
            tracing::debug!(
                variable = variable_name,
                "names no field of the configuration"
            );
        }
    }
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let identity = Identity::from_pem_files(&certificate, &key);
            let refused =
                |error: crate::tls::TlsError| invalid(CERTIFICATE, &certificate, error.to_string());
            identity.map(Some).map_err(refused)
        }
        (certificate, key) => {
            let given = certificate.or(key).unwrap_or_default();
            Err(invalid(
                "identity.certificate/identity.key",
                &given,
                "both must be provided together",
            ))
        }
    }
}

macro_rules! by_name {
    ($type:ty, $identity:expr) => {
        impl $type {
            /// Returns the names of all fields that [`Self::set`] takes, such as `transport.idle_timeout`.
            #[must_use]
            pub fn keys() -> Vec<String> {
                let mut names = Vec::new();
                <Self as Keys>::list("", &mut names);
                names
            }

            /// Returns the value of a field as text; `None` when there is no field of that name.
            #[must_use]
            pub fn get(&self, key: &str) -> Option<String> {
                self.text(key)
            }

            /// Sets a field by its name.
            ///
            /// Times are written `30s`, `250ms`, `5m` or in seconds, sizes in bytes or as `4 MiB`, ranges of streams
            /// `100..1280`, lists with commas between their items, and `none` is nothing. What fits together is for
            /// [`Self::validate`] to say.
            ///
            /// # Errors
            ///
            /// [`ConfigError`] when there is no such field, or when the text is no value for it; nothing has changed
            /// then.
            #[doc(alias = "update")]
            pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
                set(self, key, value)
            }

            /// Returns names and values of all fields, as [`Self::set`] takes them.
            ///
            /// Certificates and keys of the own side are not among them.
            #[must_use]
            #[doc(alias = "to_dict")]
            pub fn fields(&self) -> Vec<(String, String)> {
                let names = Self::keys();
                let values = names.into_iter();
                let values = values.filter_map(|name| Some((self.text(&name)?, name)));
                values.map(|(value, name)| (name, value)).collect()
            }

            /// Lays the environment over the configuration: `WT_TRANSPORT_IDLE_TIMEOUT=10s` sets
            /// `transport.idle_timeout`, and so on for each of [`Self::keys`]. `WT_IDENTITY_CERTIFICATE` and
            /// `WT_IDENTITY_KEY` name PEM files.
            ///
            /// Variables that begin with `WT_` and name no field are left to others.
            ///
            /// # Errors
            ///
            /// [`ConfigError`] when a value is none for its field, or when the configuration cannot work with it.
            pub fn with_env(self) -> Result<Self, ConfigError> {
                let text = std::env::vars_os().filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                });
                self.with_variables(text)
            }

            /// Like [`Self::with_env`], with variables from elsewhere.
            ///
            /// # Errors
            ///
            /// As [`Self::with_env`].
            pub fn with_variables(
                mut self,
                variables: impl IntoIterator<Item = (String, String)>,
            ) -> Result<Self, ConfigError> {
                if let Some(identity) = overlay(&mut self, variables)? {
                    let put: fn(&mut Self, Identity) = $identity;
                    put(&mut self, identity);
                }
                self.validate()?;
                Ok(self)
            }
        }
    };
}

by_name!(ClientConfig, |config, identity| config.identity =
    Some(identity));
by_name!(ServerConfig, |config, identity| config.identity = identity);
