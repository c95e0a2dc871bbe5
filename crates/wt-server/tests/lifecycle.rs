//! How applications start and stop.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{LIMIT, client, config, ended, eventually, start};
use tokio::{sync::oneshot, time::timeout};
use wt_server::{AppConfig, AppError, BoxError, Close, Resource, ServerApp, Session, Shutdown};

type Trace = Arc<Mutex<Vec<String>>>;

fn note(trace: &Trace, what: &str) {
    trace.lock().unwrap().push(what.to_owned());
}

/// Something that notes when it starts and stops.
struct Noted {
    name: &'static str,
    trace: Trace,
    fails: bool,
}

impl Noted {
    fn new(name: &'static str, trace: &Trace) -> Arc<Self> {
        let (trace, fails) = (trace.clone(), false);
        Arc::new(Self { name, trace, fails })
    }

    fn failing(name: &'static str, trace: &Trace) -> Arc<Self> {
        let (trace, fails) = (trace.clone(), true);
        Arc::new(Self { name, trace, fails })
    }
}

impl Resource for Noted {
    async fn start(&self) -> Result<(), BoxError> {
        note(&self.trace, &format!("start {}", self.name));
        if self.fails {
            Err("no luck".into())
        } else {
            Ok(())
        }
    }

    async fn stop(&self) -> Result<(), BoxError> {
        note(&self.trace, &format!("stop {}", self.name));
        Ok(())
    }
}

#[tokio::test]
async fn hooks_run_in_order_and_resources_stop_in_reverse() {
    let trace = Trace::default();
    let app = ServerApp::with_state(config(), trace.clone())
        .resource(Noted::new("a", &trace))
        .on_startup(async |trace: Trace| note(&trace, "up 1"))
        .resource(Noted::new("b", &trace))
        .on_startup(async |trace: Trace| {
            note(&trace, "up 2");
            Ok::<(), BoxError>(())
        })
        .on_shutdown(async |trace: Trace| {
            note(&trace, "down 1");
            Err::<(), BoxError>("not well".into())
        })
        .on_shutdown(async |trace: Trace| note(&trace, "down 2"));
    let running = start(app).await;
    let up = ["start a", "start b", "up 1", "up 2"];
    assert_eq!(*trace.lock().unwrap(), up);
    // One that fails keeps the others from nothing.
    let error = running.app.shut_down().await.unwrap_err();
    assert!(matches!(&error, AppError::Shutdown(why) if why.to_string() == "not well"));
    let down = ["down 1", "down 2", "stop b", "stop a"];
    assert_eq!(trace.lock().unwrap()[4..], down);
}

#[tokio::test]
async fn what_had_started_is_stopped_when_the_start_fails() {
    let trace = Trace::default();
    let app = ServerApp::with_state(config(), trace.clone())
        .resource(Noted::new("a", &trace))
        .resource(Noted::failing("b", &trace))
        .resource(Noted::new("c", &trace))
        .on_startup(async |trace: Trace| note(&trace, "up"))
        .on_shutdown(async |trace: Trace| note(&trace, "down"));
    let error = app.start().await.unwrap_err();
    assert!(matches!(&error, AppError::Startup(why) if why.to_string() == "no luck"));
    assert_eq!(*trace.lock().unwrap(), ["start a", "start b", "stop a"]);

    // A port that is taken is found after the hooks ran, so they are run back.
    let trace = Trace::default();
    let running = start(ServerApp::new(config())).await;
    let app = ServerApp::with_state(config(), trace.clone())
        .bind(running.app.local_addr().unwrap())
        .resource(Noted::new("a", &trace))
        .on_startup(async |trace: Trace| note(&trace, "up"))
        .on_shutdown(async |trace: Trace| note(&trace, "down"));
    let error = app.start().await.unwrap_err();
    assert!(matches!(error, AppError::Bind(_)), "{error}");
    assert_eq!(*trace.lock().unwrap(), ["start a", "up", "down", "stop a"]);
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[tokio::test]
async fn shutdown_drains_waits_and_closes_the_rest_with_a_code() {
    async fn polite(session: Session) -> Close {
        session.draining().await.ok();
        Close::new(11, "done")
    }
    async fn deaf(session: Session) {
        session.closed().await;
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = dropped.clone();
    let forever = async move |_: Session| {
        let _flag = Dropped(flag.clone());
        std::future::pending::<()>().await;
    };
    let shutdown = Shutdown::new(Duration::from_secs(3)).with_close(4000, "going down");
    let app = ServerApp::new(config())
        .configure(AppConfig::new().with_shutdown(shutdown))
        .route("/polite", polite)
        .route("/deaf", deaf)
        .route("/forever", forever);
    let running = start(app).await;
    let polite = running.session("/polite").await;
    let deaf = running.session("/deaf").await;
    let forever = running.session("/forever").await;
    let server = running.app.server().clone();
    assert!(server.is_serving());
    eventually(|| running.app.stats().sessions_active == 3).await;
    assert!(!dropped.load(SeqCst));

    let common::Running { app, client } = running;
    let address = app.local_addr().unwrap();
    let stopping = tokio::spawn(app.shut_down());
    assert_eq!(ended(&polite).await, (11, "done".to_owned()));
    assert_eq!(ended(&deaf).await, (4000, "going down".to_owned()));
    assert_eq!(ended(&forever).await, (4000, "going down".to_owned()));
    timeout(LIMIT, stopping).await.unwrap().unwrap().unwrap();
    assert!(dropped.load(SeqCst));
    assert!(!server.is_serving());
    let url = format!("https://{address}/polite");
    let connect = client.connect(url).timeout(Duration::from_millis(200));
    connect.await.unwrap_err();
}

#[tokio::test]
async fn serving_ends_when_it_is_told_to() {
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, address) = oneshot::channel();
    let down = Arc::new(AtomicBool::new(false));
    let flag = down.clone();
    let config = config();
    let hash = config.identity.certificate_hash();
    let app = ServerApp::new(config)
        .route("/", async |session: Session| drop(session.closed().await))
        .on_shutdown(async move |()| flag.store(true, SeqCst));
    let serving = tokio::spawn(async move {
        let running = app.start().await.unwrap();
        tell.send(running.local_addr().unwrap()).unwrap();
        stopped.await.unwrap();
        running.shut_down().await
    });
    let address = address.await.unwrap();
    let verification = wt_client::ServerVerification::Hashes(vec![hash]);
    let config = wt_client::ClientConfig::new().with_verification(verification);
    let client = wt_client::Client::new(config).unwrap();
    let session = client.connect(format!("https://{address}/")).await.unwrap();
    stop.send(()).unwrap();
    assert_eq!(ended(&session).await.0, 0);
    timeout(LIMIT, serving).await.unwrap().unwrap().unwrap();
    assert!(down.load(SeqCst));

    let stopped = async {};
    ServerApp::new(self::config())
        .serve_until(stopped)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_runtime_within_a_runtime_is_an_error() {
    let error = ServerApp::new(config()).run().unwrap_err();
    assert!(matches!(error, AppError::System(_)), "{error}");
}

#[tokio::test]
async fn dropping_an_application_stops_it() {
    let app = ServerApp::new(config())
        .route("/", async |session: Session| drop(session.closed().await))
        .start()
        .await
        .unwrap();
    let client = client(app.server());
    let url = format!("https://{}/", app.local_addr().unwrap());
    let session = client.connect(&url).await.unwrap();
    drop(app);
    timeout(LIMIT, session.closed()).await.unwrap();
}

#[cfg(unix)]
mod signals {
    use super::*;

    /// Sends a signal to this process, which has a handler for it by then.
    async fn kill(signal: &str) {
        let pid = std::process::id().to_string();
        let kill = std::process::Command::new("kill")
            .args([signal, &pid])
            .status();
        assert!(kill.unwrap().success());
    }

    #[test]
    fn an_application_on_its_own_runtime_ends_on_sigterm() {
        let trace = Trace::default();
        ServerApp::with_state(config(), trace.clone())
            .on_startup(async |_| kill("-TERM").await)
            .on_shutdown(async |trace: Trace| note(&trace, "down"))
            .run()
            .unwrap();
        assert_eq!(*trace.lock().unwrap(), ["down"]);
    }

    #[tokio::test]
    async fn serving_ends_on_sigint() {
        let trace = Trace::default();
        let app = ServerApp::with_state(config(), trace.clone())
            .on_startup(async |_| kill("-INT").await)
            .on_shutdown(async |trace: Trace| note(&trace, "down"));
        timeout(LIMIT, app.serve()).await.unwrap().unwrap();
        assert_eq!(*trace.lock().unwrap(), ["down"]);
    }
}

#[cfg(unix)]
mod takeover {
    use std::{fs, path::PathBuf};

    use super::*;

    /// The path of a control socket in a folder of its own.
    fn control(name: &str) -> PathBuf {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("wt-app-{name}-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder.join("control")
    }

    #[tokio::test]
    async fn an_application_ends_by_itself_when_another_one_has_its_port() {
        async fn polite(session: Session) -> Close {
            session.draining().await.ok();
            Close::new(11, "done")
        }
        let (trace, path, config) = (Trace::default(), control("ends"), config());
        // Nobody else gets the port between the two.
        let reserved = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let config = config.with_bind(reserved.local_addr().unwrap());
        drop(reserved);
        let old = ServerApp::with_state(config.clone(), trace.clone())
            .takeover(&path)
            .route("/", polite)
            .on_shutdown(async |trace: Trace| note(&trace, "old down"));
        let old = tokio::spawn(old.serve_until(std::future::pending::<()>()));
        eventually(|| path.exists()).await;
        let hash = config.identity.certificate_hash();
        let trust = wt_client::ServerVerification::Hashes(vec![hash]);
        let client = wt_client::ClientConfig::new().with_verification(trust);
        let client = wt_client::Client::new(client).unwrap();
        let url = format!("https://{}/", config.bind);
        let session = client.connect(&url).await.unwrap();

        let new = ServerApp::with_state(config, trace.clone())
            .configure(AppConfig::new().with_takeover(&path))
            .route("/", async |session: Session| drop(session.closed().await));
        let running = new.start().await.unwrap();
        assert_eq!(ended(&session).await, (11, "done".to_owned()));
        timeout(LIMIT, old).await.unwrap().unwrap().unwrap();
        assert_eq!(*trace.lock().unwrap(), ["old down"]);
        assert!(running.handover().is_some_and(|it| !it.is_handed_over()));
        let session = client.connect(&url).await.unwrap();
        running.shut_down().await.unwrap();
        assert_eq!(ended(&session).await.0, 0);
        fs::remove_dir(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn what_had_started_is_stopped_when_nothing_can_be_taken_over() {
        let (trace, path) = (Trace::default(), control("cannot"));
        fs::write(&path, "precious").unwrap();
        let app = ServerApp::with_state(config(), trace.clone())
            .takeover(&path)
            .resource(Noted::new("a", &trace));
        let error = app.start().await.unwrap_err();
        assert!(matches!(error, AppError::Takeover(_)), "{error}");
        assert_eq!(*trace.lock().unwrap(), ["start a", "stop a"]);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
