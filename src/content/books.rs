//! What is known of the stores of all users: sizes, use, and what is charged to users besides. Decides nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::store::Store;
use super::users::ROOT;

/// Whose store has grown in this time has a larger share than others of what is free: he may go on.
const LIVELY: Duration = Duration::from_secs(1);

/// One user's store.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) store: Arc<Store>,
    /// Pages it has room for.
    pub(super) size: u64,
    /// Pages in it when last looked.
    pub(super) used: u64,
    /// When it was last seen to hold more than before.
    pub(super) grew: Instant,
    /// Pages more that there must be room for, while somebody makes use of it.
    pub(super) promised: u64,
    /// Since when it has been seen without contents.
    pub(super) idle: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) entries: HashMap<u32, Entry>,
    /// Pages of users that are not in stores; none is 0.
    pub(super) charged: HashMap<u32, u64>,
}

impl Books {
    pub(super) fn charged_to(&self, uid: u32) -> u64 {
        self.charged.get(&uid).copied().unwrap_or(0)
    }

    pub(super) fn change(&mut self, uid: u32, change: impl FnOnce(u64) -> u64) {
        let charged = change(self.charged_to(uid));
        match charged {
            0 => self.charged.remove(&uid),
            _ => self.charged.insert(uid, charged),
        };
    }

    pub(super) fn promise(&mut self, uid: u32, change: impl FnOnce(u64) -> u64) {
        if let Some(entry) = self.entries.get_mut(&uid) {
            entry.promised = change(entry.promised);
        }
    }

    pub(super) fn look(&mut self) {
        let now = Instant::now();
        for entry in self.entries.values_mut() {
            let used = entry.store.usage().map_or(entry.used, |(used, _)| used);
            if used > entry.used {
                entry.grew = now;
            }
            entry.used = used;
        }
    }

    /// Pages in all stores when last looked.
    pub(super) fn used(&self) -> u64 {
        self.entries.values().map(|entry| entry.used).sum()
    }

    /// Pages in one store now.
    pub(super) fn used_in_store(&self, uid: u32) -> u64 {
        let usage = self.entries.get(&uid).and_then(|entry| entry.store.usage().ok());
        usage.map_or(0, |(used, _)| used)
    }

    /// Takes out stores that nobody has had any contents in for so long, not even a mapping of them.
    pub(super) fn take_idle(&mut self, long: Duration) -> Vec<Entry> {
        let now = Instant::now();
        let mut idle = Vec::new();
        for (&uid, entry) in &mut self.entries {
            let empty = Arc::strong_count(&entry.store) == 1 && matches!(entry.store.usage(), Ok((0, _)));
            entry.idle = empty.then(|| entry.idle.unwrap_or(now));
            if uid != ROOT && entry.idle.is_some_and(|since| now.duration_since(since) >= long) {
                idle.push(uid);
            }
        }
        idle.into_iter().filter_map(|uid| self.entries.remove(&uid)).collect()
    }
}

impl Entry {
    /// How large its share is of what is free, against those of others.
    pub(super) fn weight(&self) -> u32 {
        match self.grew.elapsed() < LIVELY {
            true => 8,
            false => 1,
        }
    }
}
