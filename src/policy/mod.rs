//! Pure rules: facts in, verdict out. No system calls, no locks, no state.
//!
//! | rule | semantics | mirrors | option | test |
//! |---|---|---|---|---|
//! | [`acl`] inheritance, mask and mode | 1.1, 2.2 | fs/posix_acl.c | | unit, tests/mounted/posix_xattr.rs |
//! | [`ageing`] what the cleaner may take away | | systemd-tmpfiles `needs_cleanup` | max_age | unit, tests/mounted/cleaner |
//! | [`atime`] when a read counts | 1.1 | `relatime_need_update` | noatime, relatime, strictatime | unit |
//! | [`birth`] owner, group and mode of a new inode | 2.2 | `inode_init_owner` | | unit, tests/mounted |
//! | [`handle_mode`] how an open file is served | 5.1, 5.3, 5.5, 5.6 | `fuse_file_io_open` | mand, io | unit, tests/mounted/fast |
//! | [`hard_link`] who may give a file one more name | 3.3 | `may_linkat` | hardlinks | unit, tests/mounted/attacks |
//! | [`mandatory`] whom record locks bind, and which can be kept | 5.1, 5.6 | `mandatory_lock` of Linux before 5.15 | mand | unit, tests/locks |
//! | [`purpose`] what a system call is for | 3.2, 3.4 | | | unit |
//! | [`set_id`] what a write leaves of set-id bits | 1.1, 5.8 | `setattr_should_drop_suidgid` | | unit, tests/mounted |
//! | [`squatting`] opening what others put there | 3.4 | `may_create_in_sticky` | squatting | unit, tests/mounted/attacks |
//! | [`symlink`] who may follow a symlink | 3.2 | `may_follow_link` | symlinks | unit, tests/mounted/attacks |
//! | [`xattr`] which attributes there are | 1.1 | `shmem_xattr_handlers` | | unit, tests/mounted |

pub mod acl;
pub mod ageing;
pub mod atime;
pub mod birth;
pub mod handle_mode;
pub mod hard_link;
pub mod mandatory;
pub mod purpose;
pub mod set_id;
pub mod squatting;
pub mod symlink;
pub mod verdict;
pub mod xattr;
