//! Walks of the cleaner on request. A walk takes its time, so it has a thread of its own, and who asked for it asks again how it
//! went; there is one at a time.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::answers::{escaped, milliseconds, refusal};
use super::fit::fitting;
use super::protocol::{Body, Cleaned, Code, MAX_ANSWER, Taken};
use crate::clean::{self, Cleaner, Order, Pace};
use crate::events;
use crate::policy::ageing::Spared;
use crate::tree::Stage;
use crate::types::Timestamp;

/// The most names that are told one by one.
const MOST: usize = 10_000;

/// The longest path that is told: the end of it.
const LONGEST: usize = 1024;

/// What others than root and the mount's owner are told.
pub(super) fn refused() -> Body {
    refusal(Code::Refused, "only root and who made the mount may have it cleaned")
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) age: Duration,
    pub(super) dry_run: bool,
    /// What time it is taken to be, in milliseconds since 1970.
    pub(super) now_ms: Option<u64>,
}

/// How the last walk went, once it is over.
type Walk = Arc<OnceLock<Cleaned>>;

/// The walks.
pub(super) struct Cleaning {
    cleaner: Arc<Cleaner>,
    last: RefCell<Option<Walk>>,
}

impl Cleaning {
    pub(super) fn new(cleaner: Arc<Cleaner>) -> Cleaning {
        Cleaning {
            cleaner,
            last: RefCell::default(),
        }
    }

    /// Begins a walk.
    pub(super) fn begin(&self, wish: Wish) -> Body {
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_some_and(|walk| walk.get().is_none()) {
            return refusal(Code::Busy, "a walk that somebody asked for is under way: try again");
        }
        let walk = Walk::default();
        let (cleaner, done) = (Arc::clone(&self.cleaner), Arc::clone(&walk));
        let started = thread::Builder::new()
            .name("clean".to_owned())
            .spawn(move || drop(done.set(cleaned(&cleaner, wish))));
        match started {
            Ok(_) => *last = Some(walk),
            Err(error) => return refusal(Code::Failed, format!("no thread can be started: {error}")),
        }
        Body::Cleaning {}
    }

    /// How the last one went.
    pub(super) fn outcome(&self) -> Body {
        match self.last.borrow().as_ref().map(|walk| walk.get()) {
            None => refusal(Code::NotFound, "nobody has asked for a walk"),
            Some(None) => Body::Cleaning {},
            Some(Some(cleaned)) => Body::Cleaned(cleaned.clone()),
        }
    }
}

fn cleaned(cleaner: &Cleaner, wish: Wish) -> Cleaned {
    let now = wish.now_ms.map_or_else(Timestamp::recent, |now| Timestamp {
        secs: i64::try_from(now / 1000).unwrap_or(i64::MAX),
        nanos: u32::try_from(now % 1000).unwrap_or(0) * 1_000_000,
    });
    let order = Order {
        now,
        age: wish.age,
        stage: if wish.dry_run { Stage::Look } else { Stage::Remove },
        pace: Pace::GENTLE,
    };
    let mut taken = Vec::new();
    let summary = cleaner.walk(&order, &mut |it| {
        if taken.len() < MOST {
            taken.push(told(it));
        }
        ControlFlow::Continue(())
    });
    let (taken, _) = fitting(MAX_ANSWER / 2, taken);
    Cleaned {
        dry_run: wish.dry_run,
        looked: summary.looked,
        files: summary.files,
        directories: summary.directories,
        young: summary.spared(Spared::Young),
        in_use: summary.spared(Spared::InUse),
        excluded: summary.spared(Spared::Excluded),
        mounted: summary.spared(Spared::Mounted),
        taken_left_out: summary.taken().saturating_sub(taken.len() as u64),
        taken,
    }
}

fn told(taken: &clean::Taken<'_>) -> Taken {
    let end = taken.path.len().saturating_sub(LONGEST);
    Taken {
        path: escaped(&taken.path[end..]),
        kind: events::kind(taken.file_type).to_owned(),
        owner: taken.owner,
        touched_ms: milliseconds(taken.touched),
    }
}
