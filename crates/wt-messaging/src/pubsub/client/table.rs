//! What a client is subscribed to.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::oneshot;

use crate::pubsub::{Pattern, PubSubEnd, SubscriptionEnd, Topic, queue::Queue};

/// The subscriptions of a client by what they are to.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Pattern, Entry>,
    /// How many of them have wildcards.
    wildcards: usize,
    /// Subscriptions, of which several may be to the same.
    count: usize,
    /// Set when the client is over.
    pub(super) end: Option<PubSubEnd>,
}

/// All subscriptions to one topic or pattern. The broker knows of one.
#[derive(Debug, Default)]
struct Entry {
    confirmed: bool,
    locals: Vec<Local>,
}

#[derive(Debug)]
struct Local {
    queue: Arc<Queue>,
    /// Who waits for the broker's answer.
    waits: Option<Answered>,
}

/// Told what the broker answers: nothing, or why not.
pub(super) type Answered = oneshot::Sender<Result<(), String>>;

/// What adding a subscription came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is the first: the broker is to be asked.
    First,
    /// The broker was asked and has not answered.
    Waiting,
    /// The broker has confirmed the same before.
    Confirmed,
}

impl Table {
    /// Subscriptions now.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Distinct topics and patterns that are confirmed.
    pub(super) fn topics(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.confirmed)
            .count()
    }

    pub(super) fn add(&mut self, pattern: &Pattern, queue: Arc<Queue>, tell: Answered) -> Added {
        self.count += 1;
        let entry = match self.entries.get_mut(pattern.as_str()) {
            Some(entry) => entry,
            None => {
                self.wildcards += usize::from(pattern.is_wildcard());
                self.entries.entry(pattern.clone()).or_default()
            }
        };
        let added = match (entry.confirmed, entry.locals.is_empty()) {
            (true, _) => Added::Confirmed,
            (false, true) => Added::First,
            (false, false) => Added::Waiting,
        };
        let waits = (added != Added::Confirmed).then_some(tell);
        entry.locals.push(Local { queue, waits });
        added
    }

    /// Removes one; returns whether it was the last of its kind, so that the broker is to be told.
    pub(super) fn leave(&mut self, pattern: &Pattern, queue: &Arc<Queue>) -> bool {
        let Some(entry) = self.entries.get_mut(pattern.as_str()) else {
            return false;
        };
        let Some(at) = entry
            .locals
            .iter()
            .position(|local| Arc::ptr_eq(&local.queue, queue))
        else {
            return false;
        };
        entry.locals.swap_remove(at);
        self.count -= 1;
        if !entry.locals.is_empty() {
            return false;
        }
        self.forget(pattern.as_str());
        true
    }

    /// Ends all of a kind; returns whether there were any.
    pub(super) fn end_all(&mut self, pattern: &str, why: &SubscriptionEnd) -> bool {
        let Some(entry) = self.forget(pattern) else {
            return false;
        };
        self.count -= entry.locals.len();
        for local in entry.locals {
            local.queue.end(why.clone());
            if let (Some(tell), SubscriptionEnd::Refused(reason)) = (local.waits, why) {
                // Nobody may be waiting any more.
                let _ = tell.send(Err(reason.clone()));
            }
        }
        true
    }

    fn forget(&mut self, pattern: &str) -> Option<Entry> {
        let (pattern, entry) = self.entries.remove_entry(pattern)?;
        self.wildcards -= usize::from(pattern.is_wildcard());
        Some(entry)
    }

    pub(super) fn confirm(&mut self, pattern: &str) {
        let Some(entry) = self.entries.get_mut(pattern) else {
            return;
        };
        entry.confirmed = true;
        for local in &mut entry.locals {
            if let Some(tell) = local.waits.take() {
                let _ = tell.send(Ok(()));
            }
        }
    }

    /// Puts the queues that want messages of this topic into `found`.
    pub(super) fn matching(&self, topic: &Topic, found: &mut Vec<Arc<Queue>>) {
        let mut take = |entry: &Entry| {
            found.extend(entry.locals.iter().map(|local| local.queue.clone()));
        };
        if let Some(entry) = self.entries.get(topic.as_str()) {
            take(entry);
        }
        if self.wildcards > 0 {
            let others = self.entries.iter().filter(|(pattern, _)| {
                pattern.as_str() != topic.as_str() && pattern.matches(topic)
            });
            others.for_each(|(_, entry)| take(entry));
        }
    }

    /// Ends everything: the client is over.
    pub(super) fn close(&mut self, why: &PubSubEnd) {
        self.end.get_or_insert_with(|| why.clone());
        for (_, entry) in self.entries.drain() {
            for local in entry.locals {
                local.queue.end(SubscriptionEnd::Closed(why.clone()));
            }
        }
        (self.wildcards, self.count) = (0, 0);
    }
}
