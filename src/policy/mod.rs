//! Pure rules: facts in, verdict out. No system calls, no locks, no state.
//!
//! | rule | semantics | mirrors | option | test |
//! |---|---|---|---|---|
//! | [`acl`] inheritance, mask and mode | 1.1, 2.2 | fs/posix_acl.c | | unit, tests/mounted/posix_xattr.rs |
//! | [`atime`] when a read counts | 1.1 | `relatime_need_update` | noatime, relatime, strictatime | unit |
//! | [`birth`] owner, group and mode of a new inode | 2.2 | `inode_init_owner` | | unit, tests/mounted |
//! | [`set_id`] what a write leaves of set-id bits | 1.1, 5.8 | `setattr_should_drop_suidgid` | | unit, tests/mounted |
//! | [`xattr`] which attributes there are | 1.1 | `shmem_xattr_handlers` | | unit, tests/mounted |

pub mod acl;
pub mod atime;
pub mod birth;
pub mod set_id;
pub mod xattr;
