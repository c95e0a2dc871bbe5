//! `wtctl serve`: the server that newcomers, browsers and test tools talk to.
//!
//! One module per concern: `args` what can be asked for, `listening` what is printed, `service` the
//! server from start to end, `certificates` what becomes of them meanwhile, `protection` what clients may take,
//! `route` what a path means, `answer` accepting and refusing, `session` the tasks of a session, `dashboard` the
//! page for who looks after it, and the rest what happens on its streams.

mod answer;
mod args;
mod certificates;
mod dashboard;
mod discard;
mod echo;
mod headers;
mod listening;
mod metrics;
mod protection;
mod push;
mod reset;
mod route;
mod service;
mod session;
mod source;

use wt::monitor::http::HttpConfig;

pub(crate) use self::{
    args::{Args, address},
    service::{NAMES, Service, Settings},
};
use self::{
    dashboard::{Dashboard, Watch},
    metrics::Metrics,
};
use crate::{
    failure::Failure,
    stop::{Hangup, Stop},
};

/// Serves until it is told to stop.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    // Before the line that says that it listens: a signal may follow that at once.
    let stop = Stop::listen()?;
    let mut identities = args.identities()?;
    let hangup = Hangup::listen(&identities)?;
    let identity = identities.remove(0);
    let settings = Settings {
        listen: args.listen,
        identity,
        others: identities,
        protocols: args.protocols.clone(),
        protection: Some(args.protection.clone()),
        watch: args
            .dashboard
            .map(|_| Watch::new(args.dashboard_token.clone())),
    };
    let identity = settings.identity.clone();
    let (mut service, taking) = match &args.takeover {
        Some(path) => {
            let (service, pending) = Service::take_over(settings, path).await?;
            (service, Some(pending))
        }
        None => (Service::bind(settings)?, None),
    };
    // The process that is taken over serves its pages while it finishes.
    let http = HttpConfig::default().with_share_port(taking.is_some());
    // Before the line that says that it listens: it may not be possible.
    let dashboard = match args.dashboard {
        Some(address) => Some(Dashboard::start(address, &service, &identity, http.clone()).await?),
        None => None,
    };
    let metrics = match args.metrics {
        Some(address) => Some(Metrics::start(address, service.server(), http).await?),
        None => None,
    };
    if let Some(pending) = taking {
        // Last: whatever fails before leaves the port where it is.
        service.complete(pending).await?;
    }
    let metrics_address = metrics.as_ref().map(Metrics::local_addr);
    let (address, hash) = (service.local_addr()?, identity.certificate_hash());
    listening::print(address, hash, metrics_address, args.json)?;
    if let Some(dashboard) = &dashboard {
        listening::print_dashboard(dashboard.url(), args.json)?;
    }
    let changing = certificates::keep(service.server().clone(), hangup, args.json);
    tokio::select! {
        () = service.run(stop, args.grace()) => {}
        () = changing => {}
    }
    drop(dashboard);
    if let Some(metrics) = metrics {
        metrics.stop().await;
    }
    Ok(())
}
