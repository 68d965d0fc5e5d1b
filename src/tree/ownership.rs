//! Whose a file is: who owns it is charged for it.

use std::sync::Arc;

use super::homecoming;
use super::inode::{Body, Inode, Meta};
use super::table::Tree;
use crate::content::{Content, PageCharge};
use crate::sync::WriteGuard;
use crate::types::Errno;

/// What else than the inode is charged for, locked.
#[derive(Debug)]
pub enum Charged<'a> {
    /// The contents of a regular file.
    Content(&'a mut Content),
    /// The path of a symlink.
    Path(WriteGuard<'a, PageCharge>),
    /// Nothing.
    Nothing,
}

impl Inode {
    /// What else than the inode is charged for, of anything but a regular file.
    pub fn charged(&self) -> Charged<'_> {
        match &self.body {
            Body::Symlink { charge, .. } => Charged::Path(charge.write()),
            _ => Charged::Nothing,
        }
    }
}

impl Tree {
    /// Gives an inode another owner, who is charged for all of it from now on. Errors: EDQUOT where he would have more than a
    /// user may, and then nothing is changed.
    pub fn chown(&self, meta: &mut Meta, charged: &mut Charged<'_>, uid: u32) -> Result<(), Errno> {
        let to = self.limits.account(uid);
        let from = Arc::clone(meta.charge.account());
        if !Arc::ptr_eq(&from, &to) {
            meta.charge.transfer(&to)?;
            let moved = match charged {
                Charged::Content(content) => content.transfer(&to),
                Charged::Path(charge) => charge.transfer(&to),
                Charged::Nothing => Ok(()),
            };
            moved.inspect_err(|_| meta.charge.return_to(&from))?;
        }
        meta.uid = uid;
        Ok(())
    }

    /// Has contents that are to move to the store of the owner, and could not yet, tried again soon.
    pub fn move_later(&self, inode: &Arc<Inode>, content: &Content) {
        if content.waits_to_move() {
            homecoming::later(inode);
        }
    }
}
