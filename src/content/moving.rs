//! Contents that change their owner: from one user's store to another's, or from one account to another.

use std::sync::Arc;

use super::file::{Content, Data, Whence};
use super::limits::PageCharge;
use super::store::Store;
use super::stored::Stored;
use super::users::Account;
use crate::types::Errno;
use crate::types::attr::PAGE_SIZE;

/// The most pages that are moved to another store: what keeps a worker busy for a few tens of milliseconds.
const MOST_PAGES: u64 = (64 << 20) / PAGE_SIZE;

/// Bytes moved by one step.
const STEP: usize = 256 << 10;

impl Content {
    /// The file gets another owner. What is in the store of the old one moves to that of the new one, at once or, where
    /// somebody has the file open, when it is closed. Preconditions: they were [looked at](Content::look). Errors: EDQUOT where
    /// he may not have so much, and then nothing is changed.
    pub fn transfer(&mut self, to: &Arc<Account>) -> Result<(), Errno> {
        let pages = match &self.data {
            Data::Stored(stored) => stored.pages(),
            _ => 0,
        };
        let charge = PageCharge::to(Arc::clone(to));
        if pages > 0 && !Arc::ptr_eq(to, self.charge.account()) && !self.is_in_store_of(&charge) {
            charge.check_store(pages)?;
        }
        self.charge.transfer(to)?;
        self.come_home();
        Ok(())
    }

    fn is_in_store_of(&self, charge: &PageCharge) -> bool {
        match &self.data {
            Data::Stored(stored) => charge.has_store(&stored.store),
            _ => false,
        }
    }

    /// Whether they are in the store of somebody else than the owner.
    pub fn is_away(&self) -> bool {
        matches!(&self.data, Data::Stored(stored) if stored.away)
    }

    /// Whether they are, and may move as soon as the kernel has let go of them.
    pub fn waits_to_move(&self) -> bool {
        matches!(&self.data, Data::Stored(stored) if stored.away && !stored.is_open() && stored.pages() <= MOST_PAGES)
    }

    /// Moves them to the store of the owner if they are in another. They stay where they are while somebody has them open or
    /// mapped, where there is no room for them twice, and where they are very many.
    pub fn come_home(&mut self) {
        if self.is_in_store_of(&self.charge) {
            if let Data::Stored(stored) = &mut self.data {
                stored.away = false;
            }
            return;
        }
        let Data::Stored(stored) = &mut self.data else { return };
        stored.away = true;
        if stored.is_unused() {
            self.recycle();
            return;
        }
        let moved = match self.charge.store() {
            Ok(Some(home)) => stored.moved_to(&home),
            Ok(None) | Err(_) => None,
        };
        if let Some(moved) = moved {
            let before = std::mem::replace(&mut **stored, moved);
            before.let_go();
        }
    }
}

impl Stored {
    /// A copy in another store; `None` where that cannot be.
    fn moved_to(&mut self, home: &Arc<Store>) -> Option<Stored> {
        let pages = self.pages();
        if !self.is_alone() || pages > MOST_PAGES {
            return None;
        }
        let has_room = home
            .usage()
            .is_ok_and(|(_, free)| free.is_none_or(|free| pages <= free));
        let _promise = (!has_room).then(|| home.make_room(pages));
        let mut copy = Stored::new(home).ok()?;
        let copied = self.copy_to(&mut copy);
        // Pages that were promised and not written are not seen, and would be lost.
        if copied.is_ok() && copy.pages() == pages {
            return Some(copy);
        }
        let _emptied = copy.set_size(0);
        copy.let_go();
        None
    }

    fn copy_to(&self, copy: &mut Stored) -> Result<(), Errno> {
        let size = self.seen().size;
        copy.set_size(size)?;
        let mut buf = vec![0; STEP];
        let mut at = 0;
        loop {
            at = match self.seek(at, Whence::Data) {
                Err(Errno::ENXIO) => break,
                found => found?,
            };
            let end = self.seek(at, Whence::Hole)?;
            while at < end {
                let wanted = usize::try_from(end - at).unwrap_or(STEP).min(STEP);
                let read = self.read_at(at, &mut buf[..wanted])?;
                if read == 0 {
                    return Err(Errno::EIO);
                }
                copy.write_all(at, &buf[..read])?;
                at += read as u64;
            }
        }
        copy.set_times(self.seen().atime, self.seen().mtime);
        copy.look();
        Ok(())
    }

    fn write_all(&mut self, mut at: u64, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match self.write_at(at, bytes)? {
                0 => return Err(Errno::EIO),
                written => {
                    at += written as u64;
                    bytes = &bytes[written..];
                }
            }
        }
        Ok(())
    }
}
