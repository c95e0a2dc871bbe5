//! What the peer may call.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Rpc,
    error::{RpcError, RpcErrorCode},
    message,
    shared::{Shared, set},
};

/// A handler at work: the JSON of its result.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<Bytes, RpcError>> + Send>>;

/// A handler that reads its parameters itself.
type Erased = Box<dyn Fn(Asked<'_>, Bytes) -> Result<Running, RpcError> + Send + Sync>;

/// A method that the peer may call.
pub(super) struct Method {
    name: Arc<str>,
    handler: Erased,
    /// The handler was done at once when it ran last.
    quick: AtomicBool,
}

impl Method {
    /// Reads the parameters and has the handler begin.
    pub(super) fn call(
        &self,
        shared: &Arc<Shared>,
        notification: bool,
        params: Bytes,
    ) -> Result<Running, RpcError> {
        let asked = Asked {
            shared,
            method: &self.name,
            notification,
        };
        (self.handler)(asked, params)
    }

    pub(super) fn is_quick(&self) -> bool {
        self.quick.load(Relaxed)
    }

    pub(super) fn set_quick(&self, quick: bool) {
        set(&self.quick, quick);
    }
}

/// What a [`Request`] is made of, for the handlers that want one.
struct Asked<'a> {
    shared: &'a Arc<Shared>,
    method: &'a Arc<str>,
    notification: bool,
}

impl From<Asked<'_>> for Request {
    fn from(asked: Asked<'_>) -> Self {
        Self {
            shared: Arc::downgrade(asked.shared),
            method: asked.method.clone(),
            notification: asked.notification,
        }
    }
}

/// The methods that a peer may call, by name.
///
/// Handlers are async functions. They run in tasks of their own, at most
/// [`RpcConfig::concurrency`](super::RpcConfig::concurrency) at a time; when the caller gives up or RPC
/// ends, they are dropped where they wait. One that was done at once the last time, within 50 µs and without
/// waiting for anything, begins in the task that reads the peer's requests, which takes less time, and gets a task
/// of its own as soon as it waits. As everywhere in async code, a handler must not block its thread: least of all on
/// an answer of the same peer, which that task could not read. In which order handlers begin is not certain. One that
/// panics is answered with an error.
///
/// ```
/// use wt_messaging::rpc::{Methods, RpcError};
///
/// #[derive(serde::Deserialize)]
/// struct Search {
///     words: String,
///     #[serde(default)]
///     limit: usize,
/// }
///
/// let methods = Methods::new()
///     // [1, 2]
///     .method("add", |a: i64, b: i64| async move { Ok(a + b) })
///     // ["cat", 3] as well as {"words": "cat", "limit": 3}
///     .method_named("search", |search: Search| async move {
///         if search.words.is_empty() {
///             return Err(RpcError::invalid_params("nothing to look for"));
///         }
///         Ok(vec![search.words; search.limit])
///     });
/// assert_eq!(methods.names().count(), 2);
/// ```
#[derive(Clone, Default)]
pub struct Methods {
    /// By names that the application has chosen, so that no peer can have them collide.
    handlers: FxHashMap<Arc<str>, Arc<Method>>,
}

impl Methods {
    /// Returns no methods.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method with positional parameters: as many as the function has, of its types.
    ///
    /// A method of the same name is replaced.
    #[must_use]
    #[doc(alias = "register")]
    pub fn method<Args, F: Handler<Args>>(self, name: impl Into<String>, handler: F) -> Self {
        self.add(name.into(), move |_, params| handler.call(&params))
    }

    /// Adds a method whose parameters are one struct: its fields by name, or by position in the order
    /// of their declaration.
    ///
    /// A method of the same name is replaced.
    #[must_use]
    pub fn method_named<P, R, F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        P: DeserializeOwned,
        R: Serialize,
        F: Fn(P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
    {
        self.add(name.into(), move |_, params| {
            Ok(run(handler(read(&params)?)))
        })
    }

    /// Adds a method like [`Self::method_named`] that also gets the request, for instance to call back
    /// whoever called.
    ///
    /// The parameters may be a tuple, too, for positional ones.
    #[must_use]
    pub fn method_with<P, R, F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        P: DeserializeOwned,
        R: Serialize,
        F: Fn(Request, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
    {
        self.add(name.into(), move |request, params| {
            let params = read(&params)?;
            Ok(run(handler(request.into(), params)))
        })
    }

    fn add(
        mut self,
        name: String,
        handler: impl Fn(Asked<'_>, Bytes) -> Result<Running, RpcError> + Send + Sync + 'static,
    ) -> Self {
        let name: Arc<str> = name.into();
        let method = Method {
            name: name.clone(),
            handler: Box::new(handler),
            quick: AtomicBool::new(false),
        };
        self.handlers.insert(name, Arc::new(method));
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Method>> {
        self.handlers.get(name)
    }

    /// Returns the names of the methods, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.handlers.keys().map(|name| &**name)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// A request, as handlers of [`Methods::method_with`] get it.
pub struct Request {
    shared: Weak<Shared>,
    method: Arc<str>,
    notification: bool,
}

impl Request {
    /// Returns the name under which the method was called.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns whether the caller wants no answer.
    #[must_use]
    pub const fn is_notification(&self) -> bool {
        self.notification
    }

    /// Returns the way back to the caller; `None` when the application has dropped all its handles.
    #[must_use]
    pub fn peer(&self) -> Option<Rpc> {
        let shared = self.shared.upgrade()?;
        Rpc::again(&shared)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("notification", &self.notification)
            .finish_non_exhaustive()
    }
}

/// An async function with positional parameters: up to eight, of types that can be read from JSON.
pub trait Handler<Args>: Send + Sync + 'static {
    /// Reads the parameters and begins to work.
    ///
    /// # Errors
    ///
    /// [`RpcErrorCode::INVALID_PARAMS`] when they are not those of the function.
    #[doc(hidden)]
    fn call(&self, params: &[u8]) -> Result<Running, RpcError>;
}

macro_rules! handlers {
    ($($parameter:ident $name:ident),*) => {
        impl<F, Fut, R, $($parameter),*> Handler<($($parameter,)*)> for F
        where
            F: Fn($($parameter),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
            R: Serialize,
            $($parameter: DeserializeOwned,)*
        {
            fn call(&self, params: &[u8]) -> Result<Running, RpcError> {
                if params.starts_with(b"{") {
                    return Err(RpcError::invalid_params("Parameters must be a list."));
                }
                let ($($name,)*) = read(params)?;
                Ok(run(self($($name),*)))
            }
        }
    };
}

handlers!(A a);
handlers!(A a, B b);
handlers!(A a, B b, C c);
handlers!(A a, B b, C c, D d);
handlers!(A a, B b, C c, D d, E e);
handlers!(A a, B b, C c, D d, E e, G g);
handlers!(A a, B b, C c, D d, E e, G g, H h);
handlers!(A a, B b, C c, D d, E e, G g, H h, I i);

impl<F, Fut, R> Handler<()> for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
    R: Serialize,
{
    fn call(&self, params: &[u8]) -> Result<Running, RpcError> {
        if params.starts_with(b"{") {
            return Err(RpcError::invalid_params("Parameters must be a list."));
        }
        let _: [u8; 0] = read(params)?;
        Ok(run(self()))
    }
}

fn read<P: DeserializeOwned>(params: &[u8]) -> Result<P, RpcError> {
    serde_json::from_slice(params).or_else(|error| {
        // No parameters at all are `()`, or an `Option` that is `None`.
        let none = params
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .eq(b"[]");
        let unit = none.then(|| serde_json::from_slice(b"null").ok());
        unit.flatten()
            .ok_or_else(|| RpcError::invalid_params(format!("Invalid parameters: {error}.")))
    })
}

fn run<R: Serialize>(
    handler: impl Future<Output = Result<R, RpcError>> + Send + 'static,
) -> Running {
    Box::pin(async move {
        let result = handler.await?;
        message::encode(&result).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or(String::new(), ToString::to_string);
            RpcError::new(
                RpcErrorCode::INTERNAL_ERROR,
                format!("the result has no form in JSON: {cause}"),
            )
        })
    })
}
