//! The system call a caller sits in while its request is unanswered.

/// A system call as `/proc/<tid>/syscall` shows it: as the kernel got it from user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Its number, in the numbering of the caller's own architecture.
    pub number: i64,
    /// Its arguments, as many as it has; the rest is left over from whatever was before.
    pub arguments: [u64; 6],
}
