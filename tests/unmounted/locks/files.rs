//! Some files with locks, and a record of who was told what.

use std::sync::{Arc, Mutex};

use owltmp::lock::{
    Access, FileLocks, Kind, Locked, Owner, Performed, Purse, Purses, Queued, Range, Request, Stops, Ticket, Waits,
    Wake,
};
use owltmp::types::Errno;

use super::model::Told;

/// A waiting job that writes down what it is told.
pub struct Note {
    pub id: usize,
    told: Arc<Mutex<Told>>,
}

impl Wake for Note {
    fn wake(self: Box<Self>, result: Result<(), Errno>) {
        self.told.lock().unwrap().push((self.id, result));
    }
}

/// The real thing.
pub struct Files {
    pub files: Vec<Arc<FileLocks>>,
    pub waits: Waits,
    pub purse: Purse,
    pub may_grant: Result<(), Errno>,
    told: Arc<Mutex<Told>>,
}

impl Files {
    pub fn new(files: usize) -> Files {
        Files {
            files: (0..files).map(|_| Arc::new(FileLocks::new())).collect(),
            waits: Waits::new(),
            purse: Purses::new().of(1),
            may_grant: Ok(()),
            told: Arc::default(),
        }
    }

    /// What was told since the last time.
    pub fn told(&self) -> Told {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn note(&self, id: usize) -> Box<Note> {
        let told = Arc::clone(&self.told);
        Box::new(Note { id, told })
    }

    /// Whether the lock is granted, or the ticket of the wait.
    pub fn lock(&self, file: usize, request: Request, wait: Option<usize>) -> Result<Option<Ticket>, Errno> {
        self.set(file, request, wait, false)
    }

    pub fn convert(&self, file: usize, request: Request, wait: Option<usize>) -> Result<Option<Ticket>, Errno> {
        self.set(file, request, wait, true)
    }

    fn set(&self, file: usize, request: Request, wait: Option<usize>, whole: bool) -> Result<Option<Ticket>, Errno> {
        let mut ticket = None;
        let mut park = |it| {
            ticket = Some(it);
            Ok(self.note(wait.unwrap_or_default()) as Box<dyn Wake>)
        };
        let wait: Option<owltmp::lock::Park<'_>> = if wait.is_some() { Some(&mut park) } else { None };
        let (locks, may_grant) = (&self.files[file], || self.may_grant);
        let result = if whole {
            locks.convert(&self.waits, &self.purse, request, &may_grant, wait)
        } else {
            locks.lock(&self.waits, &self.purse, request, &may_grant, wait)
        };
        match result? {
            Locked::Granted(woken) => {
                woken.run();
                Ok(None)
            }
            Locked::Waiting => Ok(ticket),
        }
    }

    /// Whether the access may go on, or the ticket of its wait.
    pub fn access(&self, file: usize, access: Access, id: usize) -> Result<Option<Ticket>, Errno> {
        if self.files[file].access(&access).is_ok() {
            return Ok(None);
        }
        let mut ticket = None;
        let queued = self.files[file].wait(&self.waits, access, &mut |it| {
            ticket = Some(it);
            Ok(self.note(id))
        })?;
        assert_eq!(queued, Queued::Waiting);
        Ok(ticket)
    }

    pub fn unlock(&self, file: usize, owner: Owner, range: Range) {
        let woken = self.files[file].unlock(&self.waits, owner, range, &|| self.may_grant);
        woken.unwrap().run();
    }

    pub fn release(&self, file: usize, owner: Owner) {
        self.files[file].release(&self.waits, owner, &|| self.may_grant).run();
    }

    /// `None`: it does not wait any more. Otherwise whether it was done.
    pub fn perform(
        &self,
        file: usize,
        id: usize,
        ticket: Ticket,
        kind: Kind,
        range: Range,
        obeys: bool,
    ) -> Option<bool> {
        let job = self.note(id);
        let transfer = |job: Box<Note>, waited: Access, stops: Stops<'_>| {
            let access = Access {
                own: waited.own,
                kind,
                range,
            };
            match stops(&access).filter(|_| obeys) {
                Some(_) => Err((job, access)),
                None => Ok(job.id),
            }
        };
        let performed = self.files[file].perform(&self.waits, ticket, &|| self.may_grant, job, transfer);
        match performed {
            Performed::Done(done, woken) => {
                assert_eq!(done, id);
                woken.run();
                Some(true)
            }
            Performed::Blocked(woken) => {
                woken.run();
                Some(false)
            }
            Performed::Gone(job) => {
                assert_eq!(job.id, id);
                None
            }
        }
    }

    /// Whether it still waited.
    pub fn cancel(&self, file: usize, ticket: Ticket) -> bool {
        let cancelled = self.files[file].cancel(&self.waits, ticket, &|| self.may_grant);
        cancelled.map(|(_, woken)| woken.run()).is_some()
    }
}
